//! A connection that the demonstration can break.

use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The socket of a channel.
#[derive(Debug)]
pub(crate) struct Wire(std::net::TcpStream);

impl Wire {
    /// Connects and keeps a handle of the socket.
    pub(crate) async fn connect(address: SocketAddr) -> Result<(Channel, Uri, Self), Box<dyn Error>> {
        let socket = TcpStream::connect(address).await?;
        // Without it, Nagle's algorithm delays small messages.
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        let mut connection = Some(TcpStream::from_std(socket.try_clone()?)?);
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        // There is one connection; reconnecting fails.
        let connector = tower::service_fn(move |_: Uri| {
            let connection = connection.take().map(TokioIo::new);
            std::future::ready(connection.ok_or(io::Error::from(io::ErrorKind::NotConnected)))
        });
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok((channel, endpoint.uri().clone(), Self(socket)))
    }

    /// Closes the socket without an HTTP/2 GOAWAY or RST_STREAM frame.
    pub(crate) fn cut(self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Both)
    }
}
