//! Text of files under /proc → values. Every parser gets the same text.

use sockdiag_exporter::kernel::cgroups::mounts;
use sockdiag_exporter::kernel::ctnetlink::parse_stat;
use sockdiag_exporter::kernel::processes::parse_link;
use sockdiag_exporter::kernel::procfs::{
    parse_counters, parse_number, parse_port_list, parse_port_range, parse_sockstat, parse_three,
};
use sockdiag_exporter::model::cgroup::CgroupOwner;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(number) = parse_number(text) {
        assert_eq!(parse_number(&format!("{number}\n")), Some(number));
    }
    if let Some(range) = parse_port_range(text) {
        let again = format!("{}\t{}\n", range.first, range.last);
        assert_eq!(parse_port_range(&again), Some(range));
        assert!(range.first <= range.last);
    }
    if let Some(list) = parse_port_list(text) {
        let again = list.iter().map(|r| format!("{}-{}", r.first, r.last));
        let again = again.collect::<Vec<_>>().join(",");
        assert_eq!(parse_port_list(&again), Some(list));
    }
    if let Some([low, pressure, high]) = parse_three(text) {
        let again = format!("{low}\t{pressure}\t{high}\n");
        assert_eq!(parse_three(&again), Some([low, pressure, high]));
    }
    for word in ["inuse", "orphan", "mem"] {
        let found = parse_sockstat(text, "TCP", word);
        assert!(found.is_none() || text.contains(word));
    }
    let mut counted = 0;
    let whole = parse_counters(text, |protocol, name, _| {
        assert!(text.contains(protocol) && text.contains(name));
        counted += 1;
    });
    assert!(whole.is_none() || counted <= text.len() / 2);
    assert!(parse_stat(text).is_none_or(|events| !events.is_empty()));
    for mount in mounts(text) {
        assert!(mount.as_os_str().len() <= text.len());
    }
    if let Some(inode) = parse_link(text) {
        assert_eq!(parse_link(&format!("socket:[{inode}]")), Some(inode));
    }
    let owner = CgroupOwner::of(text);
    for part in [owner.unit, owner.pod_uid].into_iter().flatten() {
        assert!(part.len() <= text.len() + 4, "{part}");
    }
}
