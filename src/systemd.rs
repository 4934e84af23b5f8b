//! What systemd wants of a service: readiness, a watchdog, sockets handed in
//! (sd_notify(3), sd_listen_fds(3)). Without systemd nothing happens.

use std::future::pending;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

use crate::snapshot::Latest;

/// Sockets that systemd listens on for us; none when it does not.
///
/// # Errors
/// When one of them is not a TCP socket.
pub fn listeners() -> std::io::Result<Vec<TcpListener>> {
    let mut inherited = ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..inherited.len() {
        if let Some(listener) = inherited.take_tcp_listener(at)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    Ok(listeners)
}

/// Says that the service is ready once there is a snapshot, and from then on
/// that it is alive, as long as the snapshots are fresh. Never returns.
pub async fn report(mut latest: Latest) {
    while !latest.has_started() {
        if !latest.changed().await {
            return pending().await;
        }
    }
    let mut heard = say(&[NotifyState::Ready], true);
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return pending().await;
    };
    // Half of the time is what sd_watchdog_enabled(3) recommends.
    let mut tick = tokio::time::interval((timeout / 2).max(Duration::from_millis(1)));
    loop {
        tick.tick().await;
        if latest.fresh().is_some() {
            heard = say(&[NotifyState::Watchdog], heard);
        }
    }
}

pub fn say_stopping() {
    say(&[NotifyState::Stopping], true);
}

/// Whether it was heard. A failure is logged unless the last word failed too:
/// the watchdog would repeat it for ever.
fn say(state: &[NotifyState<'_>], was_heard: bool) -> bool {
    let said = sd_notify::notify(state);
    if let Err(error) = &said
        && was_heard
    {
        tracing::warn!(%error, "cannot tell systemd");
    }
    said.is_ok()
}
