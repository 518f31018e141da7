//! Requests over HTTP: https anywhere, plain http only on loopback, no redirects, every reply bounded.

use std::sync::Arc;
use std::time::Duration;

use haversack_protocol::limits::{BODY_COMPRESSED_BYTES_MAX, RETRY_AFTER_MAX_MS};
use haversack_protocol::{
    Code, DeviceReply, DeviceRequest, Frame, FrameKind, FrameRefusal, MEDIA_TYPE, SyncRequest, TenantId,
    encode_frame,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use rustls_platform_verifier::BuilderVerifierExt;

use super::answer::{Reply, read_answer, read_registration};
use super::auth::Token;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest silence inside a reply; slow phones are normal, so the whole has no limit of its own.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a line without a request is kept; less than the minute after which the server gives it up.
const IDLE_LINE_TIME: Duration = Duration::from_secs(45);
/// Frames of one reply: hello, up to a handful of pages, hints, end.
const REPLY_BYTES_MAX: usize = 8 * BODY_COMPRESSED_BYTES_MAX;

/// Where the server is, and whose log at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    base: Url,
    tenant: TenantId,
}

/// Why a request brought no usable answer. Nothing was decided by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Not an address, or plain http to another machine.
    #[error("a server address begins with https://, or with http:// on this machine only")]
    Address,
    /// TLS could not be set up on this device.
    #[error("this device offers no certificates to check the server against")]
    Tls,
    /// No connection, or it broke.
    #[error("the server cannot be reached")]
    Unreachable,
    /// Not an answer of ours: a captive portal, a proxy, a cut or damaged reply.
    #[error("the answer cannot be used: {0}")]
    Answer(#[from] FrameRefusal),
    /// A whole answer, but without a frame it must have.
    #[error("the answer is incomplete")]
    Incomplete,
    /// The server refused the request as a whole.
    #[error("the server refused the request: {code}")]
    Refused {
        /// Stable code.
        code: Code,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// The app had no token to give.
    #[error("the app has no token for the server")]
    Token,
    /// The token speaks for somebody else than the store's owner.
    #[error("the token belongs to another person than this store")]
    OtherPrincipal,
    /// An answer was understood, but could not be stored.
    #[error("the answer could not be stored")]
    NotStored,
}

impl TransportError {
    /// Says whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable | Self::Answer(_) | Self::Incomplete | Self::NotStored => true,
            Self::Refused { code, .. } => code.action() == haversack_protocol::Action::Retry,
            _ => false,
        }
    }

    /// One word for the outbox and the status.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Tls => "tls",
            Self::Unreachable => "unreachable",
            Self::Answer(_) | Self::Incomplete => "answer",
            Self::Refused { code, .. } => code.as_str(),
            Self::Token => "token",
            Self::OtherPrincipal => "other-principal",
            Self::NotStored => "not-stored",
        }
    }
}

impl ServerAddress {
    /// Checks an address.
    ///
    /// # Errors
    /// [`TransportError::Address`] for anything but https, or http on loopback.
    pub fn new(base: &str, tenant: TenantId) -> Result<Self, TransportError> {
        let base = Url::parse(base).map_err(|_| TransportError::Address)?;
        let is_allowed = match base.scheme() {
            "https" => base.host_str().is_some(),
            "http" => is_loopback(&base),
            _ => false,
        };
        let is_plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
        (is_allowed && is_plain).then_some(Self { base, tenant }).ok_or(TransportError::Address)
    }

    /// The address as text, for the store's binding and for people; holds no secret.
    pub fn as_str(&self) -> String {
        format!("{}#{}", self.base, self.tenant)
    }

    fn endpoint(&self, verb: &str) -> Result<Url, TransportError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| TransportError::Address)?.pop_if_empty().extend([
            "v1",
            "t",
            self.tenant.as_str(),
            verb,
        ]);
        Ok(url)
    }
}

fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A connection to one server.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client,
    address: ServerAddress,
}

impl Transport {
    pub(crate) fn new(address: ServerAddress) -> Result<Self, TransportError> {
        let is_local = is_loopback(&address.base);
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE_LINE_TIME)
            .tls_backend_preconfigured(tls(address.base.scheme() == "https")?);
        // Loopback never goes through a proxy; elsewhere the platform's setting counts.
        if is_local {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|_| TransportError::Tls)?;
        Ok(Self { client, address })
    }

    pub(crate) fn server(&self) -> String {
        self.address.as_str()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn endpoint(&self, verb: &str) -> Result<Url, TransportError> {
        self.address.endpoint(verb)
    }

    /// Registers the installation.
    pub(crate) async fn register(
        &self,
        token: &Token,
        request: &DeviceRequest,
    ) -> Result<DeviceReply, TransportError> {
        let frames = self.send("device", token, FrameKind::DeviceRequest, request).await?;
        read_registration(&frames)
    }

    /// One sync round trip.
    pub(crate) async fn sync(&self, token: &Token, request: &SyncRequest) -> Result<Reply, TransportError> {
        let frames = self.send("sync", token, FrameKind::SyncRequest, request).await?;
        Reply::read(&frames)
    }

    async fn send<T: minicbor::Encode<()>>(
        &self,
        verb: &str,
        token: &Token,
        kind: FrameKind,
        request: &T,
    ) -> Result<Vec<Frame>, TransportError> {
        let mut body = Vec::new();
        encode_frame(kind, request, &mut body)?;
        let sent = self
            .client
            .post(self.address.endpoint(verb)?)
            .header(AUTHORIZATION, bearer(token)?)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(body)
            .send()
            .await;
        let response = sent.map_err(|_| TransportError::Unreachable)?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        read_answer(status, retry_after, &read_body(response).await?)
    }
}

/// What a request says who it is for; never printed.
pub(super) fn bearer(token: &Token) -> Result<HeaderValue, TransportError> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.secret.as_str()))
        .map_err(|_| TransportError::Token)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

fn tls(is_needed: bool) -> Result<rustls::ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TransportError::Tls)?;
    if !is_needed {
        // Plain http on loopback never looks at certificates; a device without any can still be tested.
        return Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
    }
    Ok(builder.with_platform_verifier().map_err(|_| TransportError::Tls)?.with_no_client_auth())
}

/// Seconds only: the date form needs two clocks that agree.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(Duration::from_millis(RETRY_AFTER_MAX_MS)))
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| TransportError::Unreachable)? {
        if body.len() + chunk.len() > REPLY_BYTES_MAX {
            return Err(TransportError::Answer(FrameRefusal::TooLarge));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<ServerAddress, TransportError> {
        ServerAddress::new(text, TenantId::new("north").expect("plain"))
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in
            ["https://sync.example.org", "http://127.0.0.1:80", "http://[::1]:1", "http://localhost/base/"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://sync.example.org",
            "http://127.0.0.1.example.org",
            "ftp://127.0.0.1",
            "https://user:secret@sync.example.org",
            "https://sync.example.org/?token=x",
            "sync.example.org",
            "",
        ] {
            assert_eq!(address(bad), Err(TransportError::Address), "{bad}");
        }
    }

    #[test]
    fn endpoints_keep_the_base_path() {
        let address = address("http://localhost:1/base/").expect("allowed");
        assert_eq!(
            address.endpoint("sync").expect("a base").as_str(),
            "http://localhost:1/base/v1/t/north/sync"
        );
    }
}
