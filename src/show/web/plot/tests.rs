use std::time::Duration;

use super::*;

fn point(age: u64, value: Option<f64>, follows: bool) -> Point {
    Point {
        age: Duration::from_secs(age),
        value,
        follows,
    }
}

fn plot(unit: Unit, label: &str, points: Vec<Point>, now: Option<f64>) -> String {
    let mut html = Html::default();
    Plot {
        of: "host".to_owned(),
        title: "Ports gone",
        unit,
        lines: vec![PlotLine {
            label: label.to_owned(),
            now,
            points,
        }],
    }
    .write(&mut html);
    html.finish()
}

#[test]
fn ten_minutes_and_the_whole_share_are_the_ends_of_the_scale() {
    let points = [
        point(600, Some(0.0), false),
        point(300, Some(0.5), true),
        point(0, Some(1.0), true),
    ];
    assert_eq!(
        path(&points, None, 1.0),
        "M38.0 102.0h0L176.0 55.0L314.0 8.0"
    );
    // Older and higher than can be does not leave the picture.
    let points = [point(6000, Some(7.0), false)];
    assert_eq!(path(&points, None, 1.0), "M38.0 8.0h0");
}

#[test]
fn what_is_not_measured_and_what_does_not_follow_is_a_gap() {
    let points = [
        point(30, Some(0.0), false),
        point(20, None, true),
        point(10, Some(0.0), true),
        point(5, Some(f64::NAN), true),
        point(0, Some(0.0), false),
    ];
    let path = path(&points, None, 1.0);
    assert_eq!(path.matches('M').count(), 3, "{path}");
    assert_eq!(path.matches('L').count(), 0, "{path}");
}

#[test]
fn the_line_ends_at_the_figure_of_now_unless_it_is_not_measured() {
    let points = [point(3, Some(0.5), true)];
    assert!(path(&points, Some(0.25), 1.0).ends_with("L314.0 78.5"));
    assert!(!path(&points, None, 1.0).contains("314.0"));
    let gone = [point(5, Some(0.5), true), point(0, None, true)];
    assert!(path(&gone, Some(0.0), 1.0).ends_with("M314.0 102.0h0"));
}

#[test]
fn nothing_is_no_line_and_one_point_is_a_dot() {
    assert_eq!(path(&[], None, 1.0), "");
    assert_eq!(path(&[], Some(f64::INFINITY), 1.0), "");
    assert_eq!(path(&[], Some(0.0), 1.0), "M314.0 102.0h0");
    let page = plot(Unit::Share, "a", Vec::new(), None);
    assert!(page.contains("a: no figure now</li>"), "{page}");
}

#[test]
fn figures_are_written_as_everywhere_and_labels_are_no_markup() {
    let points = vec![point(5, Some(0.9999), false)];
    let page = plot(Unit::Share, "<b>\"", points, Some(2.0 / 3.0));
    let figures = "&lt;b&gt;&quot;: 66.6% now, 99.9% at most";
    assert_eq!(page.matches(figures).count(), 2, "{page}");
    assert!(page.contains("aria-label=\"Ports gone, the last ten minutes. &lt;b&gt;"));
    let page = plot(Unit::PerSecond, "a", Vec::new(), Some(1240.7));
    assert!(page.contains("a: 1,240/s now, 1,240/s at most"), "{page}");
    assert!(page.contains(">2000</text>"), "{page}");
}

#[test]
fn the_upper_end_of_rates_is_a_round_number_that_holds_them() {
    for (value, top) in [
        (0.0, 1.0),
        (1.0, 1.0),
        (1.1, 2.0),
        (470.5, 500.0),
        (501.0, 1000.0),
        (1000.0, 1000.0),
        (1001.0, 2000.0),
    ] {
        assert_eq!(round_up(value), top, "{value}");
    }
    assert!(round_up(f64::INFINITY).is_finite());
}
