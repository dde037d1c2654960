//! The daemons: what is done before they are recorded, while they are, and afterwards under both sandboxes.

/// A daemon, and a life that shows what it needs.
pub(super) struct Daemon {
    /// As its package is called.
    pub package: &'static str,
    /// `*` is the version of the package's only instance.
    pub unit: &'static str,
    /// The program that has to be in the sandbox.
    pub program: &'static str,
    /// Settings for the tests.
    pub options: &'static str,
    /// What there has to be once, before its first start.
    pub prepare: &'static str,
    pub work: &'static str,
    /// What happens at the rotation of logs and the like.
    pub rotate: &'static str,
    /// Other work of the same kind, each with its name: never recorded, and done under both sandboxes. `$RUN` is another
    /// word each time.
    pub others: &'static [(&'static str, &'static str)],
    /// The highest exposure, of 10, that its nature leaves it.
    pub exposure: f64,
    /// What raises that above 2.5.
    pub nature: &'static str,
}

/// What most daemons are.
const NOTHING: Daemon = Daemon {
    package: "",
    unit: "",
    program: "",
    options: "",
    prepare: "true",
    work: "",
    rotate: "true",
    others: &[],
    exposure: 2.5,
    nature: "",
};

pub(super) const DAEMONS: [Daemon; 12] = [
    Daemon {
        package: "nginx",
        unit: "nginx.service",
        program: "nginx",
        // One site more, one with TLS, and one that asks a peer.
        prepare: "mkdir -p /etc/nginx/tls /srv/peer && cd /etc/nginx/tls && \
                  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=first -keyout key.pem -out cert.pem && \
                  printf 'server { listen 443 ssl; root /var/www/html; index index.nginx-debian.html; \
                  ssl_certificate tls/cert.pem; ssl_certificate_key tls/key.pem; }\\n\
                  server { listen 8080; location / { proxy_pass http://127.0.0.1:8081; } }\\n\
                  server { listen 80; server_name first.test; root /var/www/first; }\\n' >/etc/nginx/conf.d/more.conf && \
                  mkdir -p /var/www/first && echo first >/var/www/first/index.html && \
                  printf '[Service]\\nExecStart=/usr/bin/python3 -m http.server -d /srv/peer 8081\\n' \
                  >/run/systemd/system/peer.service && systemctl daemon-reload && systemctl start peer.service",
        work: "curl -sf http://127.0.0.1/ >/dev/null && curl -skf https://127.0.0.1/ >/dev/null && \
               curl -sf http://127.0.0.1:8080/ >/dev/null && curl -sf -H 'Host: first.test' http://127.0.0.1/ | grep -x first",
        rotate: "mv /var/log/nginx/access.log /var/log/nginx/access.log.1 && pkill -USR1 -o -x nginx",
        others: &[
            (
                "another document",
                "mkdir -p /var/www/html/d-$RUN && cd /var/www/html/d-$RUN && head -c 5000000 /dev/urandom >new && mv new file && \
                 curl -sf http://127.0.0.1/d-$RUN/file | cmp - file && curl -skf https://127.0.0.1/d-$RUN/file | cmp - file",
            ),
            (
                "slow clients",
                "(printf 'GET / HTTP/1.0\\r\\n'; sleep 0.3; printf '\\r\\n') | nc 127.0.0.1 80 | grep '200 OK' && \
                 curl -sf --limit-rate 4M http://127.0.0.1/d-$RUN/file | cmp - /var/www/html/d-$RUN/file",
            ),
            (
                "another certificate",
                "cd /etc/nginx/tls && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$RUN -keyout new.key -out new.cert && \
                 mv new.key key.pem && mv new.cert cert.pem && pkill -HUP -o -x nginx && sleep 0.3 && \
                 curl -skv https://127.0.0.1/ 2>&1 >/dev/null | grep CN=$RUN",
            ),
            (
                "another site",
                "mkdir -p /var/www/$RUN && echo $RUN >/var/www/$RUN/index.html && \
                 echo \"server { listen 80; server_name $RUN.test; root /var/www/$RUN; }\" >/etc/nginx/sites-enabled/$RUN && \
                 pkill -HUP -o -x nginx && sleep 0.3 && curl -sf -H \"Host: $RUN.test\" http://127.0.0.1/ | grep -x $RUN",
            ),
            (
                "a peer restarted",
                "echo $RUN >/srv/peer/$RUN && systemctl stop peer.service && \
                 curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/$RUN | grep -x 502 && \
                 systemctl start peer.service && curl -sf --retry 9 --retry-delay 1 http://127.0.0.1:8080/$RUN | grep -x $RUN",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x nginx; (sleep 0.3; pkill -CONT -x nginx) & curl -sf http://127.0.0.1/d-$RUN/file >/dev/null",
            ),
            (
                "many at once",
                "seq 60 | xargs -P 60 -I{} curl -sf -o /dev/null http://127.0.0.1/d-$RUN/file?{}",
            ),
            (
                "rotated from outside",
                "cd /var/log/nginx && mv access.log access.log.$RUN && install -m 640 -o www-data -g adm /dev/null access.log && \
                 pkill -USR1 -o -x nginx && sleep 0.3 && curl -sf http://127.0.0.1/?$RUN >/dev/null && sleep 0.1 && \
                 grep -q \"?$RUN\" access.log",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "apache2",
        unit: "apache2.service",
        program: "apache2",
        // One site more, and one with TLS.
        prepare: "a2enmod -q ssl && mkdir -p /etc/apache2/tls && cd /etc/apache2/tls && \
                  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=first -keyout key.pem -out cert.pem && \
                  printf '<VirtualHost *:443>\\nDocumentRoot /var/www/html\\nSSLEngine on\\nSSLCertificateFile tls/cert.pem\\n\
                  SSLCertificateKeyFile tls/key.pem\\n</VirtualHost>\\n\
                  <VirtualHost *:80>\\nServerName first.test\\nDocumentRoot /var/www/first\\n</VirtualHost>\\n' \
                  >/etc/apache2/sites-enabled/more.conf && mkdir -p /var/www/first && echo first >/var/www/first/index.html",
        work: "curl -sf http://127.0.0.1/ >/dev/null && curl -skf https://127.0.0.1/ >/dev/null && \
               curl -sf -H 'Host: first.test' http://127.0.0.1/ | grep -x first",
        rotate: "mv /var/log/apache2/access.log /var/log/apache2/access.log.1 && pkill -USR1 -o -x apache2",
        others: &[
            (
                "another document",
                "mkdir -p /var/www/html/d-$RUN && cd /var/www/html/d-$RUN && head -c 5000000 /dev/urandom >new && mv new file && \
                 curl -sf http://127.0.0.1/d-$RUN/file | cmp - file && curl -skf https://127.0.0.1/d-$RUN/file | cmp - file",
            ),
            (
                "another certificate",
                "cd /etc/apache2/tls && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$RUN -keyout new.key -out new.cert && \
                 mv new.key key.pem && mv new.cert cert.pem && pkill -USR1 -o -x apache2 && sleep 0.3 && \
                 curl -skv https://127.0.0.1/ 2>&1 >/dev/null | grep CN=$RUN",
            ),
            (
                "another site",
                "mkdir -p /var/www/$RUN && echo $RUN >/var/www/$RUN/index.html && \
                 printf '<VirtualHost *:80>\\nServerName %s.test\\nDocumentRoot /var/www/%s\\n</VirtualHost>\\n' $RUN $RUN \
                 >/etc/apache2/sites-enabled/$RUN.conf && pkill -USR1 -o -x apache2 && sleep 0.3 && \
                 curl -sf -H \"Host: $RUN.test\" http://127.0.0.1/ | grep -x $RUN",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x apache2; (sleep 0.3; pkill -CONT -x apache2) & curl -sf http://127.0.0.1/d-$RUN/file >/dev/null",
            ),
            (
                // More than its first processes have threads for.
                "many slow clients",
                "python3 -c 'import socket, time; a = [socket.create_connection((\"127.0.0.1\", 80)) for _ in range(100)]; \
                 [s.send(b\"GET / HTTP/1.0\\r\\n\") for s in a]; time.sleep(2); [s.send(b\"\\r\\n\") for s in a]; \
                 assert all(b\"200 OK\" in s.recv(99) for s in a)'",
            ),
            (
                "rotated from outside",
                "cd /var/log/apache2 && mv access.log access.log.$RUN && install -m 640 -o root -g adm /dev/null access.log && \
                 pkill -USR1 -o -x apache2 && sleep 0.3 && curl -sf http://127.0.0.1/?$RUN >/dev/null && sleep 0.1 && \
                 grep -q \"?$RUN\" access.log",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "redis-server",
        unit: "redis-server.service",
        program: "redis-server",
        prepare: "sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf",
        work: "redis-cli set key value | grep OK && redis-cli save | grep OK",
        rotate: "redis-cli bgrewriteaof | grep started && sleep 0.3 && redis-cli bgsave | grep started",
        others: &[
            (
                "other types",
                "for what in \"rpush list-$RUN a b\" \"hset hash-$RUN a b\" \"zadd set-$RUN 1 a\" \"pfadd log-$RUN a\"; do \
                 redis-cli -n 3 $what | grep -v ERR || exit; done; redis-cli -n 3 dbsize && redis-cli save | grep OK",
            ),
            (
                "a large value",
                "head -c 40000000 /dev/urandom | base64 -w 0 | redis-cli -x set large-$RUN | grep OK && \
                 redis-cli bgrewriteaof && redis-cli get large-$RUN | wc -c | grep 53333337 && redis-cli del large-$RUN",
            ),
            (
                "a client that waits",
                "(sleep 0.3; redis-cli rpush wait-$RUN there) & redis-cli blpop wait-$RUN 5 | grep there",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x redis-server; (sleep 0.3; pkill -CONT -x redis-server) & redis-cli set stop-$RUN v | grep OK",
            ),
            (
                "many at once",
                "redis-benchmark -q -c 200 -n 5000 -t set,lpush,sadd | grep SADD",
            ),
            (
                "rotated from outside",
                "cd /var/log/redis && mv redis-server.log redis-server.log.$RUN && \
                 install -m 640 -o redis -g adm /dev/null redis-server.log && redis-cli save | grep OK && \
                 grep -q 'DB saved' redis-server.log",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "memcached",
        unit: "memcached.service",
        program: "memcached",
        work: "printf 'set k 0 0 1\\r\\nv\\r\\nquit\\r\\n' | nc -N 127.0.0.1 11211 | grep STORED",
        others: &[
            (
                "other commands",
                "printf 'set a-%s 7 9 2\\r\\n41\\r\\nincr a-%s 1\\r\\nappend a-%s 0 0 1\\r\\n7\\r\\ngets a-%s\\r\\nstats\\r\\nquit\\r\\n' \
                 $RUN $RUN $RUN $RUN | nc -N 127.0.0.1 11211 | grep 427",
            ),
            (
                "more than it has memory for",
                "RUN=$RUN python3 -c 'import os, socket; s = socket.create_connection((\"127.0.0.1\", 11211)); \
                 v = os.urandom(450000).hex().encode(); r = os.environ[\"RUN\"].encode(); \
                 a = [s.sendall(b\"set %s-%d 0 0 900000\\r\\n%s\\r\\n\" % (r, i, v)) or s.recv(99) for i in range(100)]; \
                 assert set(a) == {b\"STORED\\r\\n\"}; s.sendall(b\"get %s-99\\r\\n\" % r); f = s.makefile(\"rb\"); f.readline(); \
                 assert f.read(900000) == v'",
            ),
            (
                "a slow client",
                "(printf 'set slow-%s 0 0 4\\r\\nsl' $RUN; sleep 0.3; printf 'ow\\r\\nquit\\r\\n') | nc -N 127.0.0.1 11211 | grep STORED",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x memcached; (sleep 0.3; pkill -CONT -x memcached) & \
                 printf 'set stop-%s 0 0 1\\r\\nv\\r\\nquit\\r\\n' $RUN | nc -N 127.0.0.1 11211 | grep STORED",
            ),
            (
                "many at once",
                "python3 -c 'import socket; a = [socket.create_connection((\"127.0.0.1\", 11211)) for _ in range(300)]; \
                 [s.send(b\"set many 0 0 1\\r\\nv\\r\\n\") for s in a * 9]; \
                 assert all(s.makefile(\"rb\").read(72) == b\"STORED\\r\\n\" * 9 for s in a)'",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "postgresql",
        unit: "postgresql@*-main.service",
        program: "postgres",
        prepare: "cd /etc/postgresql/*/main && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=first -keyout key.pem -out cert.pem && \
                  chown postgres key.pem cert.pem && \
                  printf \"ssl_cert_file = '$PWD/cert.pem'\\nssl_key_file = '$PWD/key.pem'\\n\" >conf.d/rig.conf",
        // With databases, roles, TLS, and what large queries do: temporary files and parallel workers.
        work: "runuser -u postgres -- psql -qAtc 'create table if not exists t (v int); insert into t values (1)' \
               -c 'select count(*) > 0 from t' -c 'drop database if exists first' -c 'create database first' \
               -c 'drop role if exists first' -c \"create role first login password 'first'\" \
               -c 'set work_mem = 64; select count(*) from (select g from generate_series(1, 20000) g order by -g offset 0) s' \
               -c 'set force_parallel_mode = on; select count(*) from t' -c checkpoint && \
               psql -Atc 'select 1' 'postgresql://first:first@127.0.0.1/postgres?sslmode=require' | grep -x 1",
        rotate: "runuser -u postgres -- psql -qAtc 'select pg_switch_wal()'",
        others: &[
            (
                "another database and role",
                "runuser -u postgres -- psql -qc \"create role $RUN login password '$RUN'\" -c \"create database $RUN owner $RUN\" && \
                 psql -Atc 'create table mine (k text primary key, v jsonb)' -c \"insert into mine values ('a', '[1, 2]')\" \
                 -c \"select v->1 from mine where k = 'a'\" \"postgresql://$RUN:$RUN@127.0.0.1/$RUN?sslmode=require\" | grep -x 2",
            ),
            (
                "a large table",
                "runuser -u postgres -- psql -qAtc \"create table large_$RUN as \
                 select g as n, md5(g::text) as t, repeat(md5(g::text), 9) as l from generate_series(1, 100000) g\" \
                 -c \"create index on large_$RUN (t)\" -c \"vacuum analyze large_$RUN\" \
                 -c 'set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0' \
                 -c \"select count(distinct l) from large_$RUN\" -c \"select count(*) from large_$RUN where t > '8'\" \
                 -c \"drop table large_$RUN\" | grep -x 100000",
            ),
            (
                "another certificate",
                "cd /etc/postgresql/*/main && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$RUN -keyout new.key -out new.cert && \
                 chown postgres new.key new.cert && mv new.key key.pem && mv new.cert cert.pem && \
                 pkill -HUP -o -x postgres && sleep 0.5 && \
                 openssl s_client -starttls postgres -connect 127.0.0.1:5432 </dev/null 2>&1 | grep \"CN = $RUN\"",
            ),
            (
                "a lock that is waited for",
                "(runuser -u postgres -- psql -qAtc 'begin; lock table t; select pg_sleep(1.5); commit') & sleep 0.3; \
                 runuser -u postgres -- psql -qAtc 'select count(*) > 0 from t' | grep -x t",
            ),
            (
                "a cancelled query",
                "timeout -s INT 0.7 runuser -u postgres -- psql -c 'select pg_sleep(30)' 2>&1 | grep canceling",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x postgres; (sleep 0.3; pkill -CONT -x postgres) & \
                 runuser -u postgres -- psql -qAtc 'select count(*) > 0 from t' | grep -x t",
            ),
            (
                "many at once",
                "cd /tmp && runuser -u postgres -- sh -c '/usr/lib/postgresql/*/bin/pgbench -qi postgres && \
                 /usr/lib/postgresql/*/bin/pgbench -c 20 -j 2 -T 2 postgres' 2>&1 | grep 'failed transactions: 0 '",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "mariadb-server",
        unit: "mariadb.service",
        program: "mariadbd",
        prepare: "mkdir -p /etc/mysql/tls && cd /etc/mysql/tls && \
                  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=first -keyout key.pem -out cert.pem && chown mysql key.pem && \
                  install -d -m 2750 -o mysql -g adm /var/log/mysql && \
                  printf '[mariadbd]\\nssl_cert=%s/cert.pem\\nssl_key=%s/key.pem\\nslow_query_log=1\\nlong_query_time=0\\n\
                  slow_query_log_file=/var/log/mysql/slow.log\\n' $PWD $PWD >/etc/mysql/mariadb.conf.d/90-rig.cnf",
        // With users, TLS, several engines, a change of a table, and a sort that needs temporary files.
        work: "mariadb -e \"create database if not exists d; create or replace database old; drop database old; use d; create or replace table d.t (v int); \
               create or replace table d.m (v int, index(v)) engine=MyISAM; create or replace table d.a (v int, index(v)) engine=Aria; \
               insert into d.t values (1); insert into d.m select seq from seq_1_to_999; insert into d.a select seq from seq_1_to_999; select count(*) from d.t, d.m, d.a; delete from d.m where v > 9; delete from d.a where v > 9; optimize table d.t, d.m, d.a; \
               create or replace index i on d.t (v); alter table d.t add column w int, algorithm=copy; \
               set sort_buffer_size=1024; create or replace table d.s select seq v, md5(seq) w from seq_1_to_20000 order by w; \
               create user if not exists first identified by 'first'\" && \
               mariadb -h 127.0.0.1 -u first -pfirst --ssl -e 'show status like \"Ssl_cipher\"' | grep TLS",
        rotate: "mv /var/log/mysql/slow.log /var/log/mysql/slow.log.1 && mariadb-admin flush-logs && mariadb -e 'flush ssl'",
        others: &[
            (
                "another database and user",
                "mariadb -e \"create or replace database $RUN; create or replace user $RUN identified by '$RUN'; grant all on $RUN.* to $RUN\" && \
                 mariadb -h 127.0.0.1 -u $RUN -p$RUN --ssl $RUN -e \"create table mine (k varchar(9) primary key, v json, l longtext); \
                 insert into mine values ('a', '[1, 2]', repeat('x', 100000)); select json_value(v, '\\$[1]') from mine where k = 'a'\" | grep -x 2",
            ),
            (
                "large tables",
                "for engine in InnoDB MyISAM Aria; do mariadb d -e \"create or replace table d.large engine=$engine \
                 select seq v, md5(seq) w, repeat(md5(seq), 9) l from seq_1_to_100000; create index i on d.large (w); \
                 alter table d.large add column x int, algorithm=copy; select l, count(*) c from d.large group by l order by l desc limit 1; \
                 delete from d.large where v > 50000; optimize table d.large; drop table d.large\" || exit; done",
            ),
            (
                "another certificate",
                "cd /etc/mysql/tls && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$RUN -keyout new.key -out new.cert && \
                 chown mysql new.key && mv new.key key.pem && mv new.cert cert.pem && mariadb -e 'flush ssl' && \
                 openssl s_client -starttls mysql -connect 127.0.0.1:3306 </dev/null 2>&1 | grep \"CN = $RUN\"",
            ),
            (
                "a lock that is waited for",
                "(mariadb -e 'lock tables d.t write; do sleep(1.5)') & sleep 0.3; mariadb -e 'insert into d.t values (2, 2)'",
            ),
            (
                "a killed query",
                "mariadb -e 'select sleep(30)' & sleep 0.3; id=$(mariadb -Ne \"select id from information_schema.processlist \
                 where info = 'select sleep(30)'\") && mariadb -e \"kill $id\"; ! wait $!",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x mariadbd; (sleep 0.3; pkill -CONT -x mariadbd) & mariadb -e 'select count(*) from d.t'",
            ),
            (
                "many at once",
                "mariadb-slap --concurrency=50 --iterations=2 --auto-generate-sql --auto-generate-sql-load-type=mixed",
            ),
            (
                "rotated from outside",
                "cd /var/log/mysql && mv slow.log slow.log.$RUN && install -m 640 -o mysql -g adm /dev/null slow.log && \
                 mariadb-admin flush-logs && mariadb -e \"select 'rotated-$RUN'\" && grep -q rotated-$RUN slow.log",
            ),
        ],
        exposure: 3.3,
        nature: "its io_uring hides files, where the kernel has no LSM hook for them",
        ..NOTHING
    },
    Daemon {
        package: "openssh-server",
        unit: "ssh.service",
        program: "sshd",
        // With PAM, sessions are units of their own, and what is done in them is recorded for those.
        options: "EnvironmentFile=\nEnvironment=\"SSHD_OPTS=-o UsePAM=no\"\n",
        prepare: "ssh-keygen -q -t ed25519 -N '' -f /root/key && for user in rig other; do \
                  useradd -m -s /bin/sh -p '*' $user && install -d -o $user -m 700 /home/$user/.ssh && \
                  install -o $user -m 600 /root/key.pub /home/$user/.ssh/authorized_keys || exit; done",
        work: "ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/key rig@127.0.0.1 \
               'echo $USER >$HOME/was-here && cat $HOME/was-here' | grep -x rig",
        others: &[
            (
                "another user",
                "ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/key other@127.0.0.1 \
                 \"echo \\$USER >\\$HOME/$RUN && cat \\$HOME/$RUN\" | grep -x other",
            ),
            (
                "stopped and continued",
                "pkill -STOP -o -x sshd; (sleep 0.3; pkill -CONT -o -x sshd) & \
                 ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/key rig@127.0.0.1 'cat $HOME/was-here' | grep -x rig",
            ),
            (
                "two at once",
                "for i in 1 2; do ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/key rig@127.0.0.1 \
                 \"sleep 0.3; echo $i >\\$HOME/$i-$RUN\" & done; wait; cat /home/rig/1-$RUN /home/rig/2-$RUN",
            ),
        ],
        exposure: 5.0,
        nature: "becomes any user, and runs what they ask for",
        ..NOTHING
    },
    Daemon {
        package: "dnsmasq",
        unit: "dnsmasq.service",
        program: "dnsmasq",
        work: "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); \
               s.sendto(bytes.fromhex(\"123401000001000000000000096c6f63616c686f73740000010001\"), (\"127.0.0.1\", 53)); \
               s.recv(512)'",
        rotate: "pkill -USR2 -x dnsmasq",
        others: &[
            (
                "another type",
                "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); \
                 s.sendto(bytes.fromhex(\"567801000001000000000000096c6f63616c686f737400001c0001\"), (\"127.0.0.1\", 53)); \
                 s.recv(512)'",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x dnsmasq; (sleep 0.3; pkill -CONT -x dnsmasq) & \
                 python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); \
                 s.sendto(bytes.fromhex(\"123401000001000000000000096c6f63616c686f73740000010001\"), (\"127.0.0.1\", 53)); \
                 s.recv(512)'",
            ),
            (
                "many at once",
                "python3 -c 'import socket; q = bytes.fromhex(\"123401000001000000000000096c6f63616c686f73740000010001\"); \
                 a = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]; \
                 [(s.settimeout(2), s.sendto(q, (\"127.0.0.1\", 53))) for s in a]; [s.recv(512) for s in a]'",
            ),
        ],
        exposure: 2.6,
        nature: "scripts of its unit find it by its number, as root",
        ..NOTHING
    },
    Daemon {
        package: "bind9",
        unit: "named.service",
        program: "named",
        // One zone that administrators write, and one that is updated.
        prepare: "for zone in /etc/bind/db.rig /var/lib/bind/db.live; do printf '$TTL 60\\n@ SOA localhost. root.localhost. 1 60 60 60 60\\n\
                  @ NS localhost.\\nfirst A 192.0.2.1\\nsecond TXT other\\n' >$zone || exit; done; chown bind /var/lib/bind/db.live && \
                  printf 'zone \"rig.test\" { type primary; file \"/etc/bind/db.rig\"; };\\n\
                  zone \"live.test\" { type primary; file \"/var/lib/bind/db.live\"; update-policy local; };\\n' >>/etc/bind/named.conf.local",
        work: "dig +time=1 +tries=1 @127.0.0.1 localhost | grep 'status: NOERROR' && \
               dig +short +time=1 +tries=1 @127.0.0.1 first.rig.test | grep -x 192.0.2.1 && \
               printf 'update delete new.live.test\\nupdate add new.live.test 60 A 192.0.2.3\\nsend\\n' | nsupdate -l && \
               dig +short +tcp +time=1 +tries=1 @127.0.0.1 new.live.test | grep -x 192.0.2.3",
        rotate: "rndc flush && rndc sync -clean live.test",
        others: &[
            (
                "another record",
                "dig +short +time=1 +tries=1 @127.0.0.1 second.rig.test TXT | grep -x '\"other\"' && \
                 dig +tcp +time=1 +tries=1 @127.0.0.1 none.rig.test | grep NXDOMAIN",
            ),
            (
                "another update",
                "printf 'update delete %s.live.test\\nupdate add %s.live.test 60 TXT %s\\nsend\\n' $RUN $RUN $RUN | nsupdate -l && \
                 rndc sync -clean live.test && grep $RUN /var/lib/bind/db.live && \
                 dig +short +time=1 +tries=1 @127.0.0.1 $RUN.live.test TXT | grep $RUN",
            ),
            (
                "a zone's file replaced",
                "cd /etc/bind && sed \"s/ 1 60/ $(date +%s) 60/\" db.rig >new && echo \"$RUN TXT $RUN\" >>new && mv new db.rig && \
                 rndc reload && sleep 0.3 && dig +short +time=1 +tries=1 @127.0.0.1 $RUN.rig.test TXT | grep $RUN",
            ),
            (
                "another zone",
                "cd /etc/bind && cp db.local db.$RUN && sed \"\\$a zone \\\"$RUN.test\\\" { type primary; file \\\"/etc/bind/db.$RUN\\\"; };\" \
                 named.conf.local >new && mv new named.conf.local && rndc reload && sleep 0.3 && \
                 dig +short +time=1 +tries=1 @127.0.0.1 $RUN.test | grep -x 127.0.0.1",
            ),
            (
                "a slow client",
                "python3 -c 'import socket, time; s = socket.create_connection((\"127.0.0.1\", 53)); s.settimeout(2); \
                 q = bytes.fromhex(\"001b123401000001000000000000096c6f63616c686f73740000010001\"); \
                 [s.send(q[:9]), time.sleep(0.3), s.send(q[9:])]; assert len(s.recv(512)) > 20'",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x named; (sleep 0.3; pkill -CONT -x named) & \
                 dig +short +time=2 +tries=1 @127.0.0.1 second.rig.test TXT | grep -x '\"other\"'",
            ),
            (
                "many at once",
                "python3 -c 'import socket; q = bytes.fromhex(\"123401000001000000000000096c6f63616c686f73740000010001\"); \
                 a = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]; \
                 [(s.settimeout(3), s.sendto(q, (\"127.0.0.1\", 53))) for s in a]; [s.recv(512) for s in a]'",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "chrony",
        unit: "chrony.service",
        program: "chronyd",
        // The clock is this machine's, also in a container.
        options: "EnvironmentFile=\nEnvironment=\"DAEMON_OPTS=-F 1 -x\"\n",
        // It has a peer, of another name, and serves.
        prepare: "printf 'allow 127.0.0.0/8\\nlog measurements\\n' >/etc/chrony/conf.d/rig.conf && \
                  echo '1 SHA1 HEX:0102030405060708090a0b0c0d0e0f1011121314' >/etc/chrony/chrony.keys && \
                  echo 'server 127.0.0.1 port 1123 key 1 iburst minpoll -1 maxpoll -1' >/etc/chrony/sources.d/first.sources && \
                  printf 'port 1123\\ncmdport 0\\nbindcmdaddress /run/peer/socket\\npidfile /run/peer/pid\\nkeyfile /etc/chrony/chrony.keys\\nallow\\nlocal stratum 3\\n' >/etc/peer.conf && \
                  printf '[Service]\\nRuntimeDirectory=peer\\nRuntimeDirectoryMode=700\\nExecStart=/usr/local/sbin/peer -d -x -f /etc/peer.conf\\n' >/run/systemd/system/peer.service && \
                  cp /usr/sbin/chronyd /usr/local/sbin/peer && systemctl daemon-reload && systemctl restart peer.service",
        work: "chronyc -n tracking | grep Stratum && chronyc -n sources | grep '^^[*+] 127.0.0.1 ' && \
               python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); \
               s.sendto(bytes([0x23]) + bytes(47), (\"127.0.0.1\", 123)); assert len(s.recv(99)) == 48'",
        rotate: "chronyc cyclelogs && chronyc rekey && chronyc reload sources",
        others: &[
            (
                "another source",
                "rm -f /etc/chrony/sources.d/[!f]*.sources; echo 'server 127.0.0.9 port 1123 key 1 iburst' >/etc/chrony/sources.d/$RUN.sources && \
                 chronyc reload sources && for i in 1 2 3 4 5 6; do sleep 1; chronyc -n sources | grep '^^[-*+] 127.0.0.9 ' && exit; done; \
                 exit 1",
            ),
            (
                "other keys",
                "cd /etc/chrony && echo \"1 SHA1 HEX:$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n')\" >new && \
                 chmod 640 new && chgrp _chrony new && mv new chrony.keys && systemctl restart peer.service && \
                 chronyc rekey | grep OK && sleep 0.5 && before=$(wc -l </var/log/chrony/measurements.log) && sleep 3 && \
                 test $(wc -l </var/log/chrony/measurements.log) -gt $before",
            ),
            (
                "a peer restarted",
                "systemctl stop peer.service && sleep 2 && systemctl start peer.service && \
                 before=$(wc -l </var/log/chrony/measurements.log) && sleep 3 && \
                 test $(wc -l </var/log/chrony/measurements.log) -gt $before",
            ),
            (
                "another client",
                "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); \
                 s.bind((\"127.0.0.7\", 0)); s.sendto(bytes([0x1b]) + bytes(47), (\"127.0.0.1\", 123)); assert len(s.recv(99)) == 48' && \
                 chronyc -n clients | grep 127.0.0.7",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x chronyd; (sleep 0.3; pkill -CONT -x chronyd) & chronyc -n sourcestats | grep 127.0.0.1",
            ),
            (
                "many at once",
                "python3 -c 'import socket; a = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]; \
                 [(s.settimeout(2), s.sendto(bytes([0x23]) + bytes(47), (\"127.0.0.1\", 123))) for s in a]; [s.recv(99) for s in a]'",
            ),
            (
                "rotated from outside",
                "cd /var/log/chrony && mv measurements.log measurements.log.$RUN && \
                 install -m 640 -o _chrony -g _chrony /dev/null measurements.log && chronyc cyclelogs && sleep 2 && \
                 test -s measurements.log",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "rsyslog",
        unit: "rsyslog.service",
        program: "rsyslogd",
        // Its socket wants it by its other name.
        prepare: "systemctl enable --runtime --quiet rsyslog.service",
        work: "logger harden-was-here && sleep 0.1 && grep -q harden-was-here /var/log/syslog",
        rotate: "mv /var/log/syslog /var/log/syslog.1 && systemctl kill -s HUP rsyslog.service",
        others: &[
            (
                "another facility",
                "logger -p mail.info mail-$RUN && sleep 0.2 && grep -q mail-$RUN /var/log/mail.log",
            ),
            (
                "rotated from outside",
                "mv /var/log/syslog /var/log/syslog.$RUN && install -m 640 -o root -g adm /dev/null /var/log/syslog && \
                 systemctl kill -s HUP rsyslog.service && sleep 0.3 && logger rotated-$RUN && sleep 0.2 && \
                 grep -q rotated-$RUN /var/log/syslog",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x rsyslogd; logger paused-$RUN; sleep 0.2; pkill -CONT -x rsyslogd; sleep 0.3; \
                 grep -q paused-$RUN /var/log/syslog",
            ),
        ],
        ..NOTHING
    },
    Daemon {
        package: "cups-daemon",
        unit: "cups.service",
        program: "cupsd",
        // A driver that leaves what it prints under the job's name.
        prepare: "printf '#!/bin/sh\\n[ $# = 0 ] || cat \"${6:--}\" >\"/var/spool/rig/$3\"\\n' >/usr/lib/cups/backend/rig && \
                  chmod 755 /usr/lib/cups/backend/rig && install -d -o lp /var/spool/rig",
        work: "lpadmin -p rig -E -v ipp://127.0.0.1:9/rig && lpstat -p rig | grep enabled && lpadmin -x rig && \
               lpadmin -p first -E -v rig:/first && rm -f /var/spool/rig/first && lp -d first -t first -o raw /etc/hostname && \
               sleep 0.5 && cmp /etc/hostname /var/spool/rig/first && lpstat -h 127.0.0.1:631 -W completed -o | grep first",
        others: &[
            (
                "another queue",
                "lpadmin -p $RUN -E -v rig:/$RUN -D \"a queue of $RUN\" && lpoptions -d $RUN && lpstat -p $RUN | grep enabled && \
                 echo $RUN | lp -d $RUN -t $RUN -o raw && sleep 0.5 && grep -x $RUN /var/spool/rig/$RUN && lpadmin -x $RUN",
            ),
            (
                "a large document",
                "head -c 5000000 /dev/urandom >/root/large && lp -d first -t large-$RUN -n 2 -o raw /root/large && sleep 1 && \
                 cmp /root/large /var/spool/rig/large-$RUN",
            ),
            (
                "a slow client",
                "python3 -c 'import socket, time; a = lambda t, n, v: bytes([t, 0, len(n)]) + n + bytes([0, len(v)]) + v; \
                 b = bytes.fromhex(\"020040020000000101\") + a(0x47, b\"attributes-charset\", b\"utf-8\") + \
                 a(0x48, b\"attributes-natural-language\", b\"en-us\") + b\"\\3\"; \
                 s = socket.create_connection((\"127.0.0.1\", 631)); s.settimeout(2); \
                 h = b\"Content-Type: application/ipp\\r\\nContent-Length: %d\\r\\n\\r\\n\" % len(b); \
                 [(s.send(p), time.sleep(0.1)) for p in (b\"POST / HTTP/1.1\\r\\nHost: localhost\\r\\n\", h, b[:20], b[20:])]; \
                 assert b\"200 OK\" in s.recv(999)'",
            ),
            (
                "stopped and continued",
                "pkill -STOP -x cupsd; (sleep 0.3; pkill -CONT -x cupsd) & lpstat -p first | grep enabled",
            ),
            (
                "many at once",
                "for i in $(seq 20); do echo $i | lp -d first -t $RUN-$i -o raw & done; wait; sleep 2; \
                 for i in $(seq 20); do grep -x $i /var/spool/rig/$RUN-$i || exit; done",
            ),
        ],
        exposure: 2.6,
        nature: "starts drivers as another user",
        ..NOTHING
    },
];
