//! The first bytes of a connection: a TLS handshake where the web configuration wants one.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::{self, Activity, Client};
use super::web_config::WebConfig;

/// What a Go server says, so that whoever forgot the s of https sees why.
const NOT_HTTPS: &str = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// A connection that is ready for HTTP.
pub enum Opened {
    Plain(Client),
    Tls(Box<TlsStream<Client>>),
    /// There is nothing more to say to this client.
    Closed,
}

/// Waits for the client's first bytes, so that the configuration is the one of that moment,
/// and makes the handshake. Whoever calls keeps the time.
///
/// # Errors
/// When the client goes away, or the handshake fails.
pub async fn open(stream: TcpStream, config: &WebConfig, activity: Activity) -> io::Result<Opened> {
    let mut first = [0];
    let received = stream.peek(&mut first).await?;
    let mut client = Client { stream, activity };
    let Some(tls) = config.current().tls.clone() else {
        return Ok(Opened::Plain(client));
    };
    // A handshake begins with 0x16, a request with the name of a method.
    if received == 1 && first[0].is_ascii_alphabetic() {
        client.write_all(NOT_HTTPS.as_bytes()).await?;
        client.shutdown().await?;
        let activity = client.activity.clone();
        client::linger(client, &activity).await;
        return Ok(Opened::Closed);
    }
    let stream = TlsAcceptor::from(tls).accept(client).await?;
    Ok(Opened::Tls(Box::new(stream)))
}
