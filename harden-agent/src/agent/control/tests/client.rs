//! The client of harden's own commands.

use super::{super::*, stage::*};
use crate::observation::from_json;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn the_client_gets_what_the_agent_has() {
    let mut agent = Agent::start(Limits::default());
    let socket = agent.socket.clone();
    run(async {
        let mut client = Client::connect(&socket).await.unwrap();
        assert_eq!(client.status().await.unwrap(), status(3));
        let units = client.units().await.unwrap();
        assert_eq!(units.len(), 3);
        assert_eq!(units[0], summary(&observation("cron.service")));
        let mut all = Vec::new();
        observations(&socket, &[], |json| {
            all.push(from_json(json.as_bytes()).unwrap());
        })
        .await
        .unwrap();
        let mut expected = UNITS.map(observation).to_vec();
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(all, expected);
        let error = observations(&socket, &["cronn.service".into()], |_| {
            panic!("there is none")
        })
        .await
        .unwrap_err()
        .to_string();
        assert_eq!(error, "no unit cronn.service was seen; is it cron.service?");
        let marked = client.mark(&"case".into(), None).await.unwrap();
        assert_eq!(marked.units.len(), 3);
    });
    agent.stop();
    let error = run(Client::connect(&socket)).unwrap_err();
    assert!(matches!(error, ClientError::NoAgent { .. }), "{error}");
    assert!(
        error.to_string().contains("sudo systemctl start harden"),
        "{error}"
    );
}

#[test]
fn a_client_that_is_refused_learns_why() {
    let agent = Agent::start(Limits {
        connections: 0,
        reserved: 0,
        ..Limits::default()
    });
    for _ in 0..20 {
        let error = run(async {
            let mut client = Client::connect(&agent.socket).await.unwrap();
            // Refused before the call is written, or while it is.
            client.units().await.unwrap_err()
        });
        let refused = AgentError::TooManyConnections { limit: 0 };
        assert!(
            matches!(&error, ClientError::Refused(error) if *error == refused),
            "{error}"
        );
        let error = run(observations(&agent.socket, &[], |_| {})).unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(error) if *error == refused),
            "{error}"
        );
    }
}
