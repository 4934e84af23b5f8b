use super::*;
use crate::fake_kernel::proc_tree;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/proc");

impl Tcp {
    fn event(&self, event: &str) -> Option<u64> {
        let mut events = self.events.iter();
        events
            .find(|(name, _)| *name == event)
            .map(|&(_, count)| count)
    }
}

fn read(files: &[(&str, &str)]) -> Result<Tcp, Missing> {
    Tcp::read(&Procfs::new(proc_tree(files).path()))
}

#[test]
fn a_whole_tree_is_read_with_memory_in_bytes() {
    let tcp = Tcp::read(&Procfs::new(FIXTURE)).unwrap();
    let page = rustix::param::page_size() as u64;
    assert_eq!((tcp.orphans, tcp.orphans_limit), (Some(3), Some(32_768)));
    assert_eq!(tcp.memory_bytes, Some(6 * page));
    let limits = [94_287, 125_716, 188_574].map(|pages| pages * page);
    assert_eq!(tcp.memory_limit_bytes, Some(limits));
    assert_eq!((tcp.time_wait_limit, tcp.tw_reuse), (Some(65_536), Some(2)));
    assert_eq!(tcp.event("active_open"), Some(511));
    assert_eq!(tcp.event("req_q_full_drop"), Some(9));
    assert_eq!(tcp.events.len(), COUNTERS.len());
}

#[test]
fn what_this_kernel_does_not_say_is_left_out() {
    assert_eq!(read(&[]).unwrap(), Tcp::default());
    let tcp = read(&[("thread-self/net/snmp", "Tcp: ActiveOpens\nTcp: 7\n")]).unwrap();
    assert_eq!(tcp.events, [("active_open", 7)]);
    assert_eq!(tcp.orphans, None);
    assert_eq!(tcp.event("listen_drop"), None);
}

#[test]
fn a_counter_below_zero_is_none() {
    let tcp = read(&[(
        "thread-self/net/snmp",
        "Tcp: ActiveOpens PassiveOpens\nTcp: -1 2\n",
    )]);
    assert_eq!(tcp.unwrap().events, [("passive_open", 2)]);
}

#[test]
fn one_garbled_file_fails_the_section_by_name() {
    for (file, text) in [
        ("sys/net/ipv4/tcp_mem", "1 2\n"),
        ("sys/net/ipv4/tcp_max_orphans", "\n"),
        ("sys/net/ipv4/tcp_tw_reuse", "-1\n"),
        ("thread-self/net/sockstat", "UDP: inuse 1\n"),
        ("thread-self/net/sockstat", "TCP: inuse 5 orphan\n"),
        ("thread-self/net/netstat", "TcpExt: A B\nTcpExt: 1\n"),
    ] {
        let Err(Missing::Failed(failure)) = read(&[(file, text)]) else {
            panic!("{file}")
        };
        assert_eq!(failure.reason, "garbled");
        assert!(failure.message.contains(file), "{}", failure.message);
    }
}
