//! A start that is refused: exit code 2 and one line that says what to do.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::authority::Authority;
use super::scene::{Scene, TLS, command, server};
use crate::exporter::{refusal, run, with_config};
use crate::support::netns::in_netns;
use crate::support::tools;

fn line(command: &mut Command) -> String {
    let (code, said) = refusal(command);
    let errors: Vec<_> = said
        .lines()
        .filter(|line| !line.contains(" WARN "))
        .collect();
    assert_eq!((code, errors.len()), (2, 1), "{said}");
    errors[0].to_owned()
}

#[test]
fn a_bad_file_ends_the_start_with_2_and_a_reason() {
    let name = "web_config::refusals::a_bad_file_ends_the_start_with_2_and_a_reason";
    in_netns(name, &[], || {
        let scene = Scene::new();
        // Told before any address is taken: another fault stays in the background.
        let _taken = TcpListener::bind(server()).unwrap();
        let stranger = Authority::new("somebody else").server();
        scene.write("other.key", &stranger.key);
        scene.write("empty.pem", "");
        scene.write(
            "garbage.pem",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        );
        let tls = |more: &str| format!("{TLS}{more}");
        let with = |old: &str, new: &str| TLS.replace(old, new);
        let cases = [
            ("tls_server_config:\n  cert_fle: x\n".to_owned(), "cert_fle"),
            ("a: b: c".to_owned(), "line 1"),
            (
                with("server.pem", "missing.pem"),
                "/missing.pem: no such file; correct the path",
            ),
            (
                with("server.pem", "empty.pem"),
                "/empty.pem: has no certificate",
            ),
            (
                with("server.pem", "garbage.pem"),
                "/garbage.pem: is no PEM file",
            ),
            (
                with("server.key", "server.pem"),
                "/server.pem: has no private key",
            ),
            (with("server.key", "other.key"), "cannot be used together"),
            (with("server.key", "."), "not a regular file"),
            (
                tls("  client_auth_type: Maybe\n"),
                "client_auth_type: \"Maybe\" is unknown",
            ),
            (
                tls("  client_ca_file: ca.pem\n"),
                "no effect without client_auth_type",
            ),
            (
                tls("  client_allowed_sans: [a]\n"),
                "no effect without client_auth_type",
            ),
            (
                tls("  client_auth_type: RequireAndVerifyClientCert\n"),
                "needs client_ca_file",
            ),
            (
                tls("  client_auth_type: RequestClientCert\n  client_ca_file: empty.pem\n"),
                "client_ca_file: ",
            ),
            (
                tls("  min_version: TLS14\n"),
                "min_version: \"TLS14\" is unknown",
            ),
            (tls("  max_version: TLS11\n"), "leave no version"),
            (
                tls("  min_version: TLS13\n  max_version: TLS12\n"),
                "leave no version",
            ),
            (
                tls("  cipher_suites: [TLS_RSA_WITH_3DES_EDE_CBC_SHA]\n"),
                "TLS_RSA_WITH_3DES_EDE_CBC_SHA\" is unknown",
            ),
            (
                tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"),
                "none of TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is offered",
            ),
            (
                tls("  curve_preferences: [CurveP512]\n"),
                "\"CurveP512\" is unknown",
            ),
            (
                "basic_auth_users:\n  ann: secret\n".to_owned(),
                "basic_auth_users.ann: is no bcrypt hash",
            ),
            (
                "basic_auth_users:\n  \"ann\\nbob\": x\n".to_owned(),
                "basic_auth_users.ann bob: is no bcrypt hash",
            ),
            (
                "http_server_config:\n  headers:\n    Server: x\n".to_owned(),
                "this header cannot be configured",
            ),
        ];
        for (text, reason) in cases {
            scene.write("web.yml", &text);
            let said = line(&mut command(&scene.path("web.yml")));
            assert!(
                said.starts_with(scene.path("web.yml").to_str().unwrap()),
                "{said}"
            );
            assert!(said.contains(reason), "{text}{said}");
        }
        let said = line(&mut command(Path::new("/nowhere.yml")));
        assert!(
            said.starts_with("web.config_file: cannot read /nowhere.yml: no such file"),
            "{said}"
        );
    });
}

#[test]
fn check_config_looks_into_the_file_too() {
    let name = "web_config::refusals::check_config_looks_into_the_file_too";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let toml = scene.path("exporter.toml");
        let web = scene.path("web.yml");
        scene.write("exporter.toml", &format!("[web]\nconfig_file = {web:?}\n"));
        scene.write("web.yml", TLS);
        let arguments = ["check-config", "--config", toml.to_str().unwrap()];
        let (code, shown, _) = run(&arguments);
        assert_eq!(code, Some(0));
        assert!(shown.contains(&format!("config_file = {web:?}")), "{shown}");
        scene.write("web.yml", &format!("{TLS}  min_version: TLS10\n"));
        let (code, _, said) = run(&arguments);
        assert_eq!(code, Some(0));
        assert!(
            said.contains("TLS10 is not spoken, TLS12 is the least"),
            "{said}"
        );
        scene.write("web.yml", "tls: {}\n");
        let (code, _, said) = run(&arguments);
        assert_eq!(code, Some(2));
        assert!(said.contains("web.yml: is no web configuration"), "{said}");
        // The exporter takes the key from its own file as well.
        let said = line(&mut with_config(&toml));
        assert!(said.contains("web.yml: is no web configuration"), "{said}");
        // What root alone could read the daemon could not: no word of the check may hide it.
        scene.write("web.yml", TLS);
        let nobody = Permissions::from_mode(0o000);
        fs::set_permissions(scene.path("server.key"), nobody).unwrap();
        let (code, _, said) = run(&arguments);
        assert_eq!(code, Some(2));
        assert!(said.contains("server.key: permission denied"), "{said}");
        let said = line(&mut with_config(&toml));
        assert!(said.contains("server.key: permission denied"), "{said}");
    });
}

#[test]
fn sockets_of_systemd_that_are_demanded_must_be_there() {
    let name = "web_config::refusals::sockets_of_systemd_that_are_demanded_must_be_there";
    in_netns(name, &[], || {
        let mut command = Command::new(tools::exporter());
        let said = line(command.arg("--web.systemd-socket"));
        assert!(said.contains("systemd has handed in no sockets"), "{said}");
    });
}
