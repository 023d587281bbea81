//! The least that looks like one of our services, for the tests of this crate.

use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    println!(
        "listening, greeting is {}, home database is {:?}",
        variable("GREETING"),
        variable("DATABASE_URL")
    );
    for stream in TcpListener::bind(variable("ADMIN_ADDR"))?.incoming() {
        let mut stream = stream?;
        let mut request = [0; 512];
        let length = stream.read(&mut request)?;
        let request = String::from_utf8_lossy(&request[..length]);
        let answer = match request.split(' ').nth(1) {
            Some("/readyz" | "/livez") => "HTTP/1.0 200 OK\r\n\r\n",
            Some("/metrics") => {
                "HTTP/1.0 200 OK\r\n\r\ncalls_total{code=\"ok\"} 2\ncalls_total{code=\"no\"} 1\n"
            }
            _ => "HTTP/1.0 404 Not Found\r\n\r\n",
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}
