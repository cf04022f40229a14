//! Where miners connect, as people are told: a URL, field by field, and as a QR code, at the terminal and on pages.

use std::{fmt::Write, net::SocketAddr};

use qrcode::{Color, QrCode, render::unicode::Dense1x2};

/// Light modules around a QR code, by which readers find it (ISO/IEC 18004, 6.3.8).
const QUIET: usize = 4;

/// Says where the pool listens and what miners are to be given, also for devices that have a field for each part.
pub(crate) fn text(listens_on: SocketAddr, miner_url: &str) -> String {
    let mut text = format!("Adit listens on {listens_on}. Miners connect to:\n\n    {miner_url}\n");
    if let Some(Fields { host, port, key }) = Fields::of(miner_url) {
        let user = "the payout address, and .worker if they like";
        let fields = [("host", host), ("port", port), ("authority key", key), ("user", user)];
        text.push_str("\nDevices that have a field for each part:\n\n");
        for (name, value) in fields {
            let _ = writeln!(text, "    {name:<13}  {value}");
        }
    }
    text
}

/// The URL as a QR code of block characters, dark on light on a terminal that writes light on dark; nothing if it is too long.
pub(crate) fn qr_code(miner_url: &str) -> Option<String> {
    let code = QrCode::new(miner_url).ok()?;
    // What is printed is light, and what is not is dark.
    Some(code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// The URL as a QR code in an image, dark on light whatever is around it; nothing if it is too long.
pub(crate) fn qr_image(miner_url: &str) -> Option<String> {
    let code = QrCode::new(miner_url).ok()?;
    let (width, side) = (code.width(), code.width() + 2 * QUIET);
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", QUIET + at % width, QUIET + at / width);
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\"><rect \
         width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/></svg>\n"
    ))
}

/// The parts of a miner's URL.
pub(crate) struct Fields<'a> {
    /// The host.
    pub(crate) host: &'a str,
    /// The port.
    pub(crate) port: &'a str,
    /// The key that certificates are signed with.
    pub(crate) key: &'a str,
}

impl<'a> Fields<'a> {
    /// Takes a URL apart; nothing if it is none.
    pub(crate) fn of(miner_url: &'a str) -> Option<Self> {
        let (_, rest) = miner_url.split_once("://")?;
        let (address, key) = rest.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Self { host, port, key })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const URL: &str = "stratum2+tcp://pool.example.org:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn each_field_stands_on_its_own() {
        let text = text("0.0.0.0:34254".parse().unwrap(), URL);
        for line in [
            "Adit listens on 0.0.0.0:34254. Miners connect to:",
            &format!("    {URL}"),
            "    host           pool.example.org",
            "    port           34254",
            "    authority key  9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
        let of_ipv6 = Fields::of("stratum2+tcp://[2001:db8::1]:3336/KEY").unwrap();
        assert_eq!((of_ipv6.host, of_ipv6.port, of_ipv6.key), ("[2001:db8::1]", "3336", "KEY"));
    }

    /// Reads the characters back: above and below are light where something is printed.
    #[test]
    fn qr_code_has_the_modules_of_the_url_within_a_quiet_zone() {
        let code = QrCode::new(URL).unwrap();
        let (width, modules) = (code.width(), code.to_colors());
        let shown = qr_code(URL).unwrap();
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        assert!(lines.iter().all(|line| line.len() == width + 2 * QUIET), "{shown}");
        let is_light = |x: usize, y: usize| match lines[y / 2][x] {
            '█' => true,
            '▀' => y.is_multiple_of(2),
            '▄' => !y.is_multiple_of(2),
            ' ' => false,
            other => panic!("{other:?}"),
        };
        for y in 0..width + 2 * QUIET {
            for x in 0..width + 2 * QUIET {
                let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
                let is_dark = inside && modules[(y - QUIET) * width + x - QUIET] == Color::Dark;
                assert_eq!(is_light(x, y), !is_dark, "{x} {y}\n{shown}");
            }
        }
        assert_eq!(qr_code(&"x".repeat(5_000)), None);
    }

    #[test]
    fn image_has_the_dark_modules_of_the_code_and_no_others() {
        let code = QrCode::new(URL).unwrap();
        let image = qr_image(URL).unwrap();
        let dark = code.to_colors().into_iter().filter(|color| *color == Color::Dark).count();
        assert_eq!(image.matches("h1v1h-1z").count(), dark);
        // The corner of the pattern by which a code is found.
        assert!(image.contains(&format!("d=\"M{QUIET} {QUIET}h1")), "{image}");
        assert_eq!(qr_image(&"x".repeat(5_000)), None);
    }
}
