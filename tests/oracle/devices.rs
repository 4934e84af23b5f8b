//! Sockets bound to a device (SO_BINDTODEVICE): they share a port with those of
//! another device, not with those of none.

use crate::figures::{Oracle, Pool, address};
use crate::support::netns::{Namespace, set_port_range};
use crate::support::plan::Plan;
use crate::support::sockets::Listener;

const TO: &str = "127.0.0.1:443";
const FREE: Pool = Pool::Toward("127.0.0.1", TO);
const BOUND: Pool = Pool::Toward("127.0.0.1%lo", TO);

fn stage(body: impl Fn(&mut Oracle, &Plan, &Plan) + Sync) {
    Namespace::fresh().enter(|| {
        set_port_range(40000, 40099);
        let listener = Listener::at(address(TO)).unwrap();
        let plain = listener.plan();
        body(
            &mut Oracle::forgetful(),
            &plain,
            &plain.clone().device("lo"),
        );
    });
}

case!(f1_with_and_without, [], || {
    stage(|oracle, _, device| {
        let _some = device.open_many(30).unwrap();
        let _rest = oracle.foretells("30 on a device: on the device", BOUND, device);
    });
    stage(|oracle, plain, device| {
        let _some = device.open_many(30).unwrap();
        let _rest = oracle.foretells("30 on a device: on none", FREE, plain);
    });
    stage(|oracle, plain, device| {
        let _some = plain.open_many(30).unwrap();
        let _rest = oracle.foretells("30 on no device: on one", BOUND, device);
    });
    stage(|oracle, plain, device| {
        // The device's first: the others do not keep from it what it has.
        let _some = device.open_many(20).unwrap();
        let _more = plain.open_many(30).unwrap();
        let _rest = oracle.foretells("20 on a device, 30 on none: on none", FREE, plain);
    });
});
