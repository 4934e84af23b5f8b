//! Basic authentication and the rate limit.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use super::scene::{Scene, TLS, plain};
use crate::exporter::patience;
use crate::support::netns::in_netns;
use crate::support::tools;

/// A line of `basic_auth_users`, at the least cost.
pub fn user(name: &str, password: &str) -> String {
    let hash = bcrypt::hash(password, 4).unwrap();
    format!("  {name}: {hash}\n")
}

pub fn basic(name: &str, password: &str) -> String {
    let encoded = STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {encoded}")
}

#[test]
fn users_alone_are_answered_on_every_path() {
    let name = "web_config::passwords::users_alone_are_answered_on_every_path";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let users = user("ann", "one") + &user("bob", "two");
        let _exporter = scene.start(&format!("basic_auth_users:\n{users}"), &[]);
        // As in the toolkit, health and readiness included.
        for path in [
            "/",
            "/metrics",
            "/-/healthy",
            "/-/ready",
            "/api/v1/snapshot",
            "/nowhere",
        ] {
            let answer = plain(path, &[]);
            assert_eq!(answer.status, 401, "{path}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Basic realm="), "{challenge}");
        }
        let status = |header: &str| plain("/-/healthy", &[header]).status;
        assert_eq!(status(&basic("ann", "one")), 200);
        assert_eq!(status(&basic("bob", "two")), 200);
        for refused in [
            basic("ann", "two"),
            basic("eve", "one"),
            basic("ann", ""),
            basic("", ""),
            "Authorization: Basic !".to_owned(),
            "Authorization: Bearer one".to_owned(),
        ] {
            assert_eq!(status(&refused), 401, "{refused}");
        }
        let page = plain("/metrics", &[&basic("ann", "one")]);
        let counted = "sockdiag_http_requests_total{code=\"401\",path=\"/metrics\"} 1";
        assert!(
            tools::wait_until(patience(), || {
                plain("/metrics", &[&basic("ann", "one")])
                    .text()
                    .contains(counted)
            }),
            "{}",
            page.text()
        );
    });
}

#[test]
fn a_user_added_or_removed_counts_from_the_next_request() {
    let name = "web_config::passwords::a_user_added_or_removed_counts_from_the_next_request";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let (ann, bob) = (user("ann", "one"), user("bob", "two"));
        let _exporter = scene.start(&format!("{TLS}basic_auth_users:\n{ann}"), &[]);
        let both = || {
            [basic("ann", "one"), basic("bob", "two")]
                .map(|header| scene.status(&[&header]).unwrap())
        };
        assert_eq!(both(), [200, 401]);
        scene.write("web.yml", &format!("{TLS}basic_auth_users:\n{ann}{bob}"));
        assert_eq!(both(), [200, 200]);
        scene.write("web.yml", &format!("{TLS}basic_auth_users:\n{bob}"));
        assert_eq!(both(), [401, 200]);
    });
}

#[test]
fn guessing_does_not_keep_out_who_is_known() {
    let name = "web_config::passwords::guessing_does_not_keep_out_who_is_known";
    in_netns(name, &[], || {
        let scene = Scene::new();
        // Dear enough that the guesses pile up.
        let hash = bcrypt::hash("one", 10).unwrap();
        let _exporter = scene.start(&format!("basic_auth_users:\n  ann: {hash}\n"), &[]);
        let known = basic("ann", "one");
        assert_eq!(plain("/-/healthy", &[&known]).status, 200);
        let guesses: Vec<_> = (0..40)
            .map(|guess| {
                std::thread::spawn(move || {
                    plain("/-/healthy", &[&basic("eve", &guess.to_string())]).status
                })
            })
            .collect();
        assert_eq!(plain("/-/healthy", &[&known]).status, 200);
        let statuses: Vec<_> = guesses
            .into_iter()
            .map(|guess| guess.join().unwrap())
            .collect();
        assert!(
            statuses.iter().all(|status| [401, 503].contains(status)),
            "{statuses:?}"
        );
        assert!(
            statuses.contains(&401) && statuses.contains(&503),
            "{statuses:?}"
        );
    });
}

#[test]
fn a_dear_check_does_not_hold_up_the_end() {
    let name = "web_config::passwords::a_dear_check_does_not_hold_up_the_end";
    in_netns(name, &[], || {
        let scene = Scene::new();
        // Minutes of bcrypt.
        let hash = bcrypt::hash("one", 4).unwrap().replacen("$04$", "$20$", 1);
        let mut exporter = scene.start(&format!("basic_auth_users:\n  ann: {hash}\n"), &[]);
        let asked = Instant::now();
        let guess = std::thread::spawn(|| {
            crate::support::http::request(super::scene::server(), "GET", "/", &[&basic("ann", "x")])
        });
        std::thread::sleep(Duration::from_millis(300));
        // The thread that answers is free meanwhile.
        assert_eq!(plain("/", &[]).status, 401);
        let (status, _) = exporter.stop(Signal::TERM);
        assert!(status.success());
        assert!(
            guess.join().unwrap().is_err(),
            "checked after {:?}",
            asked.elapsed()
        );
    });
}

#[test]
fn requests_beyond_the_rate_are_told_so() {
    let name = "web_config::passwords::requests_beyond_the_rate_are_told_so";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let _exporter = scene.start("rate_limit:\n  interval: 1h\n  burst: 3\n", &[]);
        let statuses = [(); 5].map(|()| plain("/-/healthy", &[]).status);
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
    });
}
