//! A way to the broker on which nothing goes on once a client wants to acknowledge something.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use crate::support::worker::PATIENCE;

/// Type, channel and size, before the payload of an AMQP frame; behind it there is an octet more.
const FRAME_HEADER_BYTES: usize = 7;
/// The client's first words, which are no frame.
const GREETING_BYTES: usize = 8;
/// Class and method.
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];

/// The proxy; its connections end with it.
pub struct HeldAcks {
    url: String,
    held: mpsc::Receiver<()>,
    _accepting: JoinSet<()>,
}

impl HeldAcks {
    /// A way to the broker of `amqp://USER:PASSWORD@ADDRESS/VHOST`.
    pub async fn before_url(url: &str) -> Self {
        let (credentials, rest) = url.split_once('@').unwrap();
        let (upstream, vhost) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{credentials}@{}/{vhost}", listener.local_addr().unwrap());
        let (holds, held) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream.to_owned(), holds));
        Self { url, held, _accepting: accepting }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until an acknowledgement is held.
    pub async fn until_held(&mut self) {
        timeout(PATIENCE, self.held.recv()).await.expect("an acknowledgement").unwrap();
    }
}

async fn accept(listener: TcpListener, upstream: String, holds: mpsc::Sender<()>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = TcpStream::connect(&upstream).await.unwrap().into_split();
        connections.spawn(forward_frames(from_client, to_server, holds.clone()));
        connections.spawn(answer(from_server, to_client));
    }
}

async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf) {
    let _ended = copy(&mut server, &mut client).await;
}

/// Ends with the client, and holds the way to the server open until then.
async fn forward_frames(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, holds: mpsc::Sender<()>) {
    let mut greeting = vec![0; GREETING_BYTES];
    if client.read_exact(&mut greeting).await.is_err() || server.write_all(&greeting).await.is_err() {
        return;
    }
    while let Some(frame) = read_frame(&mut client).await {
        if frame[FRAME_HEADER_BYTES..].starts_with(&BASIC_ACK) {
            let _told = holds.try_send(());
            while read_frame(&mut client).await.is_some() {}
            return;
        }
        if server.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn read_frame(client: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    client.read_exact(&mut frame).await.ok()?;
    let payload = u32::from_be_bytes(frame[3..].try_into().unwrap());
    frame.resize(FRAME_HEADER_BYTES + usize::try_from(payload).unwrap() + 1, 0);
    client.read_exact(&mut frame[FRAME_HEADER_BYTES..]).await.ok()?;
    Some(frame)
}
