//! What lies between a pool and its node: a proxy for the node's RPC that can be slow, silent, lossy, or lead elsewhere.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Bytes passed on at a time.
const CHUNK_SIZE: usize = 64 * 1024;

/// What becomes of the node's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// They are passed on.
    Pass,
    /// Each is held back for so long before it is passed on.
    Late(Duration),
    /// They are held back until this changes.
    Held,
    /// They are thrown away, and the connection is cut: the node has done what it was asked to, and nobody knows.
    Lost,
    /// Requests of this method are answered as a node does that has too much to do; all others are passed on.
    Busy(&'static str),
}

/// What a node says that has too many requests waiting.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 25\r\nConnection: close\r\n\r\n\
                      Work queue depth exceeded";

#[derive(Clone, Copy, Debug)]
struct Way {
    to: u16,
    answers: Answers,
}

/// A proxy on a port of its own. It ends with this value.
#[derive(Debug)]
pub struct NodeProxy {
    port: u16,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl NodeProxy {
    /// Leads to a node's RPC port on 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If no port can be listened on.
    pub async fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (way, ways) = watch::channel(Way { to, answers: Answers::Pass });
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let ways = ways.clone();
                // A connection that fails is what this is for.
                tokio::spawn(async move { pass(client, ways).await });
            }
        });
        Ok(Self { port, way, task })
    }

    /// Returns the URL that stands for the node's.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Chooses what becomes of answers, also of those that are waited for now.
    pub fn set_answers(&self, answers: Answers) {
        self.way.send_modify(|way| way.answers = answers);
    }

    /// Leads new connections to another node.
    pub fn lead_to(&self, port: u16) {
        self.way.send_modify(|way| way.to = port);
    }
}

impl Drop for NodeProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, ways: watch::Receiver<Way>) -> io::Result<()> {
    let to = ways.borrow().to;
    let node = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
    let (from_client, mut to_client) = client.into_split();
    let (from_node, to_node) = node.into_split();
    tokio::select! {
        passed = pass_answers(from_node, &mut to_client, ways.clone()) => return passed,
        // A client that closes its side has its answer already, or wants none.
        asked = pass_questions(from_client, to_node, ways) => asked?,
    }
    to_client.write_all(BUSY).await
}

/// Ends with the first question that the node shall have no time for.
async fn pass_questions(
    mut from_client: OwnedReadHalf,
    mut to_node: OwnedWriteHalf,
    ways: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_SIZE];
    loop {
        let size = from_client.read(&mut chunk).await?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answers = ways.borrow().answers;
        if let Answers::Busy(method) = answers
            && String::from_utf8_lossy(&chunk[..size]).contains(method)
        {
            return Ok(());
        }
        to_node.write_all(&chunk[..size]).await?;
    }
}

async fn pass_answers(
    mut from_node: OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    mut ways: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_SIZE];
    loop {
        let size = from_node.read(&mut chunk).await?;
        if size == 0 {
            return Ok(());
        }
        loop {
            let answers = ways.borrow_and_update().answers;
            match answers {
                Answers::Pass | Answers::Busy(_) => break,
                Answers::Lost => return Ok(()),
                Answers::Late(delay) => {
                    sleep(delay).await;
                    break;
                }
                Answers::Held => ways.changed().await.map_err(io::Error::other)?,
            }
        }
        to_client.write_all(&chunk[..size]).await?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    /// A node that answers each connection with one letter.
    async fn node(letter: u8) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut question = [0];
                socket.read_exact(&mut question).await.unwrap();
                socket.write_all(&[letter]).await.unwrap();
            }
        });
        port
    }

    async fn ask(proxy: &NodeProxy) -> Vec<u8> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        socket.write_all(b"?").await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_come_late_never_or_from_elsewhere_as_it_is_told() {
        const DELAY: Duration = Duration::from_millis(300);

        let proxy = NodeProxy::start(node(b'a').await).await.unwrap();
        assert_eq!(ask(&proxy).await, b"a");
        proxy.set_answers(Answers::Late(DELAY));
        let asked = Instant::now();
        assert_eq!(ask(&proxy).await, b"a");
        assert!(asked.elapsed() >= DELAY);
        proxy.set_answers(Answers::Lost);
        assert_eq!(ask(&proxy).await, b"");
        proxy.set_answers(Answers::Held);
        assert!(timeout(DELAY, ask(&proxy)).await.is_err());
        proxy.set_answers(Answers::Pass);
        proxy.lead_to(node(b'b').await);
        assert_eq!(ask(&proxy).await, b"b");
        proxy.set_answers(Answers::Busy("!"));
        assert_eq!(ask(&proxy).await, b"b");
        proxy.set_answers(Answers::Busy("?"));
        assert_eq!(ask(&proxy).await, BUSY);
    }
}
