//! Addresses that can be listened on, and those that cannot.

use std::net::{SocketAddr, TcpListener, TcpStream};

use sockdiag_exporter::show::web::server::bind;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The ports that were got, or what is said instead.
fn try_bind(texts: &[&str]) -> Result<Vec<u16>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let listeners = bind(&addresses(texts), false).map_err(|error| error.to_string())?;
    Ok(listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect())
}

/// A port that nobody has; another process might take it in between.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = try_bind(&["127.0.0.1:0", &address]).unwrap_err();
    assert!(
        error.starts_with(&format!("cannot listen on {address}: the port is taken")),
        "{error}"
    );
    assert!(!error.contains('\n'));
}

#[test]
fn an_address_of_others_is_named() {
    let error = try_bind(&["192.0.2.1:9000"]).unwrap_err();
    let start = "cannot listen on 192.0.2.1:9000: the address is not this host's";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn the_wildcard_takes_both_families() {
    if !has_ipv6() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let listeners = bind(&addresses(&["[::]:0"]), true).unwrap();
    let port = listeners[0].local_addr().unwrap().port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    TcpStream::connect(("::1", port)).unwrap();
}

#[test]
fn both_wildcards_can_be_listed_with_one_port() {
    if !has_ipv6() {
        return;
    }
    let port = free_port();
    let both = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
    assert_eq!(try_bind(&[&both[0], &both[1]]), Ok(vec![port, port]));
    assert_eq!(try_bind(&[&both[1], &both[0]]), Ok(vec![port, port]));
}

#[test]
fn an_address_that_another_covers_is_explained() {
    let port = free_port();
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    let error = try_bind(&[&all, &one]).unwrap_err();
    assert_eq!(
        error,
        format!("cannot listen on {one}: {all} in web.listen covers it already; list only one")
    );
}
