//! What changes while the exporter runs, for the better and for the worse.

use std::fs;
use std::io::Write;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::authority::{Authority, Client, Identity};
use super::passwords::{basic, user};
use super::scene::{Scene, TLS, plain, server};
use crate::exporter::patience;
use crate::support::netns::in_netns;
use crate::support::tools;

/// The certificate that the server shows.
fn shown(scene: &Scene) -> CertificateDer<'static> {
    let mut stream = scene.client().connect(server()).unwrap();
    stream.write_all(b"GET").unwrap();
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

fn of(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_client() {
    let name = "web_config::changes::a_renewed_certificate_is_shown_to_the_next_client";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let exporter = scene.start(TLS, &[]);
        let kept = scene.client().connect(server()).unwrap();
        for _ in 0..3 {
            let renewed = scene.authority.server();
            scene.install(&renewed);
            assert_eq!(shown(&scene), of(&renewed));
        }
        drop(kept);
        let log = exporter.process.log();
        assert!(
            log.contains("the web configuration has changed and is in force"),
            "{log}"
        );
    });
}

#[test]
fn a_link_that_is_turned_is_seen() {
    let name = "web_config::changes::a_link_that_is_turned_is_seen";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let renewed = scene.authority.server();
        // As Kubernetes keeps a Secret: files are links into ..data, which is one itself.
        for (directory, identity) in [("one", &scene.authority.server()), ("two", &renewed)] {
            fs::create_dir(scene.path(directory)).unwrap();
            scene.write(&format!("{directory}/tls.crt"), &identity.certificate);
            scene.write(&format!("{directory}/tls.key"), &identity.key);
        }
        let turn = |to: &str| {
            std::os::unix::fs::symlink(to, scene.path("fresh")).unwrap();
            fs::rename(scene.path("fresh"), scene.path("..data")).unwrap();
        };
        turn("one");
        let _exporter = scene.start(
            "tls_server_config:\n  cert_file: ..data/tls.crt\n  key_file: ..data/tls.key\n",
            &[],
        );
        assert_ne!(shown(&scene), of(&renewed));
        turn("two");
        assert_eq!(shown(&scene), of(&renewed));
    });
}

#[test]
fn another_authority_of_clients_counts_for_the_next_client() {
    let name = "web_config::changes::another_authority_of_clients_counts_for_the_next_client";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let config = format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        );
        let _exporter = scene.start(&config, &[]);
        let next = Authority::new("the next one");
        let (old, new) = (scene.authority.client("a"), next.client("a"));
        let let_in = || {
            [&old, &new].map(|identity| {
                Client::with(&scene.authority, identity)
                    .get(server(), "/metrics", &[])
                    .is_ok()
            })
        };
        assert_eq!(let_in(), [true, false]);
        scene.write("ca.pem", &next.pem);
        assert_eq!(let_in(), [false, true]);
    });
}

#[test]
fn a_bad_change_is_told_once_and_the_last_good_stays() {
    let name = "web_config::changes::a_bad_change_is_told_once_and_the_last_good_stays";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let good = format!("{TLS}basic_auth_users:\n{}", user("ann", "one"));
        let exporter = scene.start(&good, &[]);
        let known = basic("ann", "one");
        let both = || [scene.status(&[&known]), scene.status(&[])];
        assert_eq!(both(), [Some(200), Some(401)]);
        let bad = [
            ("tls_server_config:\n  cert_fle: x\n", "cert_fle"),
            ("{", "unclosed bracket"),
            // An editor that has emptied the file and not yet filled it.
            ("", "TLS is switched off by a restart alone"),
            (TLS, "basic_auth_users is emptied by a restart alone"),
            (
                &good.replace("server.pem", "missing.pem"),
                "missing.pem: no such file",
            ),
            (
                &good.replace("ann: $", "ann: "),
                "basic_auth_users.ann: is no bcrypt hash",
            ),
        ];
        for (text, reason) in bad {
            scene.write("web.yml", text);
            for _ in 0..3 {
                assert_eq!(both(), [Some(200), Some(401)], "{text}");
            }
            let told = || exporter.process.log().matches(reason).count() == 1;
            assert!(
                tools::wait_until(patience(), told),
                "{reason}: {}",
                exporter.process.log()
            );
        }
        fs::remove_file(scene.path("web.yml")).unwrap();
        assert_eq!(both(), [Some(200), Some(401)]);
        // The other key alone: a renewal that is half done.
        scene.write("web.yml", &good);
        assert_eq!(both(), [Some(200), Some(401)]);
        let renewed = scene.authority.server();
        scene.write("server.key", &renewed.key);
        assert_ne!(shown(&scene), of(&renewed));
        scene.write("server.pem", &renewed.certificate);
        assert_eq!(shown(&scene), of(&renewed));
        let log = exporter.process.log();
        assert_eq!(log.matches("cannot be used together").count(), 1, "{log}");
    });
}

#[test]
fn a_half_written_file_lets_nobody_in_without_a_certificate() {
    let name = "web_config::changes::a_half_written_file_lets_nobody_in_without_a_certificate";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let whole = format!("{TLS}  client_auth_type: RequireAnyClientCert\n");
        let exporter = scene.start(&whole, &[]);
        let stranger = || scene.status(&[]);
        assert_eq!(stranger(), None);
        scene.write("web.yml", TLS);
        assert_eq!(stranger(), None);
        let reason = "certificates of clients are given up by a restart alone";
        let told = || exporter.process.log().contains(reason);
        assert!(
            tools::wait_until(patience(), told),
            "{}",
            exporter.process.log()
        );
    });
}

#[test]
fn tls_can_be_switched_on_while_it_runs() {
    let name = "web_config::changes::tls_can_be_switched_on_while_it_runs";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let _exporter = scene.start("", &[]);
        assert_eq!(plain("/-/healthy", &[]).status, 200);
        scene.write("web.yml", TLS);
        assert_eq!(scene.status(&[]), Some(200));
    });
}
