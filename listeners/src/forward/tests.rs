//! What may be configured.

use super::*;
use std::net::TcpListener;
use std::path::Path;

fn build(arguments: &str) -> Result<Built, ArgsError> {
    let arguments = format!("(from: [\"auth\"], {arguments})");
    let root = Path::new("/");
    let context = BuildContext { name: "forward", directory: root, state: root };
    Factory.build(&Args::new(&arguments), &context)
}

#[test]
fn building_connects_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(build(&format!("to: \"tcp://{address}\", format: Lines")).unwrap());
    listener.set_nonblocking(true).unwrap();
    listener.accept().unwrap_err();
}

#[test]
fn arguments_have_bounds_and_words() {
    let good = "to: \"tcp://[::1]:6514\", format: Lines, connect_timeout: \"200ms\", \
                acknowledge_timeout: \"1m\", on_gap: Stop";
    let built = build(good).unwrap();
    assert_eq!(built.on_gap, OnGap::Stop);
    assert!(built.writes.is_none() && !built.only_journals);
    let syslog = "to: \"tcp://[::1]:6514\", framing: Octets, message_max: 2048, \
                  secrets: Keep, format: Rfc5424(facility: Auth, severity: Info, \
                  hostname: \"web\", app_name: \"sshd\", procid: \"7\", msgid: \"m\", \
                  enterprise: 1, header: FromLine, bom: false)";
    build(syslog).unwrap();
    build("to: \"tcp://h:1\", format: Rfc3164(header: Ours, procid: \"7\")").unwrap();
    let udp = "to: \"udp://127.0.0.1:514\"";
    build(&format!("{udp}, format: Lines, message_max: 1024, per_second: 100")).unwrap();
    build(&format!("{udp}, format: Rfc3164()")).unwrap();
    let tls = "to: \"tls://logs.example:6514\"";
    build(&format!("{tls}, format: Rfc5424(), ca: \"ca.pem\", framing: Lf")).unwrap();
    build(&format!("{tls}, format: Lines, certificate: \"a\", key: \"b\"")).unwrap();
    let http = "to: \"http://logs.example/in\"";
    let all = "format: Json, headers: {\"X-A\": \"b\"}, request_timeout: \"1m\", \
               body_max: 2000, connect_timeout: \"1s\"";
    build(&format!("{http}, {all}")).unwrap();
    build(&format!("to: \"https://logs.example/in\", {all}, token: \"t\", ca: \"c\""))
        .unwrap();
    build("to: \"http://localhost/in\", format: Lines, token: \"t\"").unwrap();
    let to = "to: \"tcp://127.0.0.1:6514\"";
    let cases = [
        (to.to_owned(), "format"),
        ("format: Lines".into(), "`to`"),
        (format!("{to}, format: Syslog"), "Lines"),
        (format!("{to}, format: Lines, framing: Octets"), "`framing` is for the formats"),
        (format!("{to}, format: Json, message_max: 2000"), "`message_max` is for udp"),
        (format!("{to}, format: Lines, secrets: Keep"), "`secrets` is not for `Lines`"),
        (format!("{to}, format: Rfc5424(), message_max: 100"), "between 1024 and"),
        (format!("{to}, format: Rfc5424(hostname: \"a b\")"), "`hostname` is \"a b\""),
        (format!("{to}, format: Rfc3164(app_name: \"\")"), "`app_name` is \"\""),
        (format!("{to}, format: Rfc5424(msgid: \"a\\n\")"), "`msgid` is \"a\\n\""),
        (format!("{to}, format: Rfc3164(msgid: \"a\")"), "msgid"),
        (format!("{to}, format: Rfc5424(facility: Local8)"), "Local8"),
        ("to: \"ftp://h:1\", format: Lines".into(), "there is only tcp"),
        (format!("{to}, format: Lines, per_second: 1000"), "`per_second` is for udp"),
        (format!("{udp}, format: Lines, per_second: 1"), "between 100 and 10000000"),
        (format!("{udp}, format: Lines, message_max: 70000"), "1024 and 65000 bytes"),
        (
            format!("{udp}, format: Rfc5424(), framing: Octets"),
            "`framing` is for the formats of syslog over tcp",
        ),
        (format!("{udp}, format: Json"), "too long for a datagram"),
        (
            format!("{udp}, format: Lines, connect_timeout: \"1s\""),
            "where nobody is called",
        ),
        (
            format!("{udp}, format: Lines, acknowledge_timeout: \"1s\""),
            "is for tcp and tls",
        ),
        (format!("{to}, format: Lines, ca: \"x\""), "`ca` is for TLS: leave it out"),
        (format!("{tls}, format: Lines, key: \"x\""), "belong together"),
        (format!("{tls}, format: Lines, fingerprint: \"x\""), "is no fingerprint"),
        (format!("{tls}, format: Lines, server_name: \"a b\""), "`server_name`"),
        (format!("{tls}, format: Lines, token: \"x\""), "`token` is for http"),
        (format!("{http}, format: Rfc5424()"), "syslog is not posted"),
        (format!("{http}, format: Json, framing: Lf"), "`framing` is for"),
        (format!("{http}, format: Json, token: \"x\""), "everybody on the way"),
        (format!("{http}, format: Json, body_max: 1"), "`body_max` must lie between"),
        (format!("{http}, format: Json, acknowledge_timeout: \"1s\""), "tcp and tls"),
        (format!("{http}, format: Json, headers: {{\"a b\": \"c\"}}"), "is no header"),
        (format!("{http}, format: Json, headers: {{\"a\": \"\\n\"}}"), "is no header"),
        (format!("{http}, format: Json, headers: {{\"Host\": \"c\"}}"), "not yours"),
        (
            format!("{http}, format: Json, headers: {{\"authorization\": \"Basic x\"}}"),
            "as `token`",
        ),
        ("to: \"https://a:b@h/\", format: Json".into(), "write `token`"),
        (format!("{to}, format: Lines, connect_timeout: \"1ms\""), "`connect_timeout`"),
        (
            format!("{to}, format: Lines, acknowledge_timeout: \"2 hours\""),
            "`acknowledge_timeout` must lie between",
        ),
    ];
    for (arguments, words) in cases {
        let error = build(&arguments).err().unwrap().message;
        assert!(error.contains(words), "{arguments}: {error}");
    }
}
