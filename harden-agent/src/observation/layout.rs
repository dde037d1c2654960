//! How the JSON is laid out: a line for each file and each kind of fact, so that two versions can be
//! compared by line, and a million files do not take a gigabyte of indentation.

use std::io::{self, Write};

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// What lies deeper than this is on one line: observation, runs, run, executables, executable,
/// files.
const DEPTH: usize = 6;

/// Indented to a depth of [`DEPTH`].
#[derive(Default)]
pub(super) struct Layout {
    depth: usize,
    outer: PrettyFormatter<'static>,
}

/// Hands a call on to the formatter that the depth asks for.
macro_rules! by_depth {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, out: &mut W, $($argument: $type),*) -> io::Result<()> {
            if self.depth <= DEPTH {
                self.outer.$name(out, $($argument),*)
            } else {
                CompactFormatter.$name(out, $($argument),*)
            }
        }
    )*};
}

/// The same for what goes a level down or up.
macro_rules! by_level {
    ($($begin:ident $end:ident)*) => {$(
        fn $begin<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
            self.depth += 1;
            if self.depth <= DEPTH {
                self.outer.$begin(out)
            } else {
                CompactFormatter.$begin(out)
            }
        }

        fn $end<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
            self.depth -= 1;
            if self.depth < DEPTH {
                self.outer.$end(out)
            } else {
                CompactFormatter.$end(out)
            }
        }
    )*};
}

impl Formatter for Layout {
    by_level! {
        begin_array end_array
        begin_object end_object
    }
    by_depth! {
        begin_array_value(first: bool);
        end_array_value();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }
}
