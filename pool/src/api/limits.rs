//! How often an address may ask: so many requests a second, and as many at once.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{
    App,
    problem::{Problem, ProblemCode},
};

/// After so many requests, addresses are forgotten that have not asked for a while: so that their number stays bounded.
const FORGET_AFTER: u32 = 4_096;

/// What each address has asked for lately.
#[derive(Debug)]
pub(super) struct RequestRates {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    since_forgotten: AtomicU32,
}

impl RequestRates {
    /// Allows so many requests a second.
    pub(super) fn new(requests_per_second: u32) -> RequestRates {
        let quota = Quota::per_second(NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN));
        RequestRates { limiter: RateLimiter::keyed(quota), since_forgotten: AtomicU32::new(0) }
    }

    /// Counts a request; false if it is one too many.
    fn admit(&self, peer: IpAddr) -> bool {
        if self.since_forgotten.fetch_add(1, Ordering::Relaxed) >= FORGET_AFTER {
            self.since_forgotten.store(0, Ordering::Relaxed);
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&origin(peer)).is_ok()
    }
}

/// Whoever has an address of IPv6 has the whole /64 of it.
fn origin(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Turns a request away whose address asks too often.
pub(super) async fn limit(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if app.rates.admit(peer.ip()) {
        return next.run(request).await;
    }
    let detail = "more requests than api.requests_per_second allows";
    Problem::new(ProblemCode::TooManyRequests, detail).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn address_that_asks_too_often_is_turned_away_alone() {
        let rates = RequestRates::new(3);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert_eq!((0..5).filter(|_| rates.admit(one)).count(), 3);
        assert!(rates.admit(other));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_count_as_one() {
        let rates = RequestRates::new(1);
        assert!(rates.admit("2001:db8::1".parse().unwrap()));
        assert!(!rates.admit("2001:db8::2".parse().unwrap()));
        assert!(rates.admit("2001:db8:0:1::1".parse().unwrap()));
        assert!(rates.admit("192.0.2.1".parse().unwrap()));
        assert!(!rates.admit("::ffff:192.0.2.1".parse().unwrap()), "the same host, written otherwise");
    }
}
