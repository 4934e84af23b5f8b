//! One HTTP/1.1 request over a plain TcpStream: enough for /metrics.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::patience;

/// An answer, whole. Header names are in lower case.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// # Panics
    /// When the body is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }
}

/// # Errors
/// Those of the socket; `InvalidData` for an answer that is cut or garbled.
pub fn get(server: SocketAddr, path: &str) -> io::Result<Response> {
    request(server, "GET", path, &[])
}

/// Any method, with headers like `Accept-Encoding: gzip`.
///
/// # Errors
/// As [`get`].
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
) -> io::Result<Response> {
    let patience = patience::seconds(10);
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    request_over(&mut stream, server, method, path, headers)
}

/// The same over a stream that is there, which the answer ends.
///
/// # Errors
/// As [`get`].
pub fn request_over(
    stream: &mut (impl Read + Write),
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
) -> io::Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "the answer is cut or garbled");
    parse(&answer, method == "HEAD").ok_or_else(cut)
}

fn parse(answer: &[u8], head_only: bool) -> Option<Response> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let headers = lines
        .map(|line| line.split_once(':'))
        .map(|pair| pair.map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())))
        .collect::<Option<Vec<_>>>()?;
    let mut response = Response {
        status: status.parse().ok()?,
        headers,
        body: body.to_vec(),
    };
    if head_only {
        return body.is_empty().then_some(response);
    }
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = dechunk(body)?;
    } else if let Some(length) = response.header("content-length") {
        (length.parse() == Ok(body.len())).then_some(())?;
    }
    Some(response)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
