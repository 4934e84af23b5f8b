use super::*;
use crate::snapshot::NamespaceSnapshot;
use crate::subjects::conntrack::Conntrack;
use crate::subjects::section::Section;

fn namespace(name: &str) -> NamespaceSnapshot {
    NamespaceSnapshot {
        name: name.to_owned(),
        ..NamespaceSnapshot::default()
    }
}

fn page(snapshot: Option<&Snapshot>, netns: Option<&str>) -> String {
    let content = Content {
        version: "1",
        revision: "r",
        telemetry_path: "/metrics",
        snapshot,
        history: &History::default(),
        why_not: "no poll",
        netns,
        now: SystemTime::now(),
    };
    content.render()
}

fn snapshot(taken: SystemTime, interval: Duration, names: &[&str]) -> Snapshot {
    Snapshot {
        taken,
        interval,
        namespaces: names.iter().map(|name| namespace(name)).collect(),
        skipped: Default::default(),
    }
}

#[test]
fn a_clock_before_1970_and_a_short_interval_are_written() {
    let long_ago = SystemTime::UNIX_EPOCH - Duration::from_secs(60);
    let page = page(
        Some(&snapshot(long_ago, Duration::from_micros(500_250), &["a"])),
        None,
    );
    let time = "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01T00:00:00Z</time>";
    assert!(page.contains(time), "{page}");
    assert!(page.contains("polled every 500ms."), "{page}");
}

#[test]
fn it_refreshes_at_the_polls_beat_with_and_without_a_script() {
    let of = |interval| snapshot(SystemTime::now(), Duration::from_millis(interval), &["a"]);
    for (interval, beat, content) in [(200, 1000, 1), (5000, 5000, 5), (7500, 7500, 8)] {
        let page = page(Some(&of(interval)), None);
        assert!(page.contains(&format!("data-beat=\"{beat}\"")), "{page}");
        let refresh =
            format!("<noscript><meta http-equiv=\"refresh\" content=\"{content}\"></noscript>");
        assert!(page.contains(&refresh), "{page}");
    }
    assert!(page(None, None).contains("data-beat=\"2000\""));
}

#[test]
fn namespaces_are_to_choose_from_where_there_are_several() {
    let now = SystemTime::now();
    let one = snapshot(now, WAITING, &["host"]);
    assert!(!page(Some(&one), None).contains("<select"));
    let two = snapshot(now, WAITING, &["host", "<pod>"]);
    let both = page(Some(&two), None);
    assert!(both.contains("<option value=\"&lt;pod&gt;\">&lt;pod&gt;</option>"));
    assert!(both.contains("Network namespace host</h2>"));
    assert!(
        !both.contains("Network namespace &lt;pod&gt;</h2>"),
        "it is well"
    );
    let picked = page(Some(&two), Some("<pod>"));
    assert!(picked.contains("<option value=\"&lt;pod&gt;\" selected>"));
    assert!(picked.contains("Network namespace &lt;pod&gt;</h2>"));
    assert!(!picked.contains("Network namespace host</h2>"));
    let gone = page(Some(&two), Some("<b>"));
    assert!(
        gone.contains("no network namespace &lt;b&gt; here"),
        "{gone}"
    );
}

#[test]
fn hundreds_of_namespaces_in_trouble_make_no_endless_page() {
    let full = |at| NamespaceSnapshot {
        facts: crate::subjects::Facts {
            conntrack: Section::Measured(Conntrack {
                entries: 95,
                limit: 100,
                buckets: None,
                events: None,
            }),
            ..Default::default()
        },
        ..namespace(&format!("pod-{at}"))
    };
    let mut all = snapshot(SystemTime::now(), WAITING, &["host"]);
    all.namespaces.extend((0..500).map(full));
    let page = page(Some(&all), None);
    assert_eq!(page.matches("<article ").count(), 30);
    assert!(page.contains("And 470 more, none of them worse"), "{page}");
    assert_eq!(page.matches("<h2 id=\"netns-").count(), 10);
    assert!(page.contains("491 more network namespaces are in trouble"));
    assert!(page.len() < 256 * 1024, "{}", page.len());
}
