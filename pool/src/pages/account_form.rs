//! What an account asks for, as the form of its page says it.

use bitcoin::{Address, address::NetworkUnchecked};

use super::fields::Fields;
use crate::operations::{
    Refusal, RefusalCode,
    account::{AccountChanges, Donation, MinesFor, PageFor, Part},
};

/// Most addresses that what an account earns is divided over in a form.
const MAX_PARTS: usize = 64;

/// Reads what is to change. What is left empty stays; a donation of nothing, and a division to the account alone, end both.
///
/// # Errors
///
/// When something cannot be read.
pub(super) fn changes(fields: &Fields) -> Result<AccountChanges, Refusal> {
    let mines_for = match fields.text("mines_for") {
        "" => None,
        "pool" => Some(MinesFor::Pool),
        "solo" => Some(MinesFor::Solo),
        other => return Err(invalid(format!("an account mines for the pool or solo, not for {other:?}"))),
    };
    let address = fields.optional::<Address<NetworkUnchecked>>("donation_address")?;
    let donation = match (fields.optional::<u16>("donation_basis_points")?, address) {
        (Some(basis_points), Some(address)) => Some(Donation { basis_points, address }),
        (None, None) => None,
        (Some(_), None) => return Err(invalid("a donation needs the address that gets it".to_owned())),
        (None, Some(_)) => return Err(invalid("a donation needs a part: basis points, 0 to end it".to_owned())),
    };
    let page = match fields.text("page") {
        "" => None,
        "public" => Some(PageFor::Public),
        "hidden" => Some(PageFor::Watchers),
        other => return Err(invalid(format!("a page is public or hidden, not {other:?}"))),
    };
    Ok(AccountChanges { mines_for, donation, division: division(fields.text("division"))?, page })
}

/// Reads a line for each address: the address, and its weight behind a blank.
fn division(text: &str) -> Result<Option<Vec<Part>>, Refusal> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    if lines.len() > MAX_PARTS {
        return Err(invalid(format!("{} addresses are more than {MAX_PARTS}", lines.len())));
    }
    let part = |line: &&str| {
        let wrong = || invalid(format!("{line:?} is not an address and a weight, such as bc1q... 2"));
        let (address, weight) = line.split_once(char::is_whitespace).ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Part { address, weight: weight.trim().parse().map_err(|_| wrong())? })
    };
    lines.iter().map(part).collect::<Result<_, _>>().map(Some)
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Invalid, reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Fields::read(text.as_bytes())
    }

    #[test]
    fn what_is_left_empty_stays() {
        let none = fields(&[("mines_for", ""), ("donation_basis_points", ""), ("division", " \r\n ")]);
        assert_eq!(changes(&none).unwrap(), AccountChanges::default());
        let all = fields(&[
            ("mines_for", "solo"),
            ("page", "hidden"),
            ("donation_basis_points", "50"),
            ("donation_address", ADDRESS),
            ("division", &format!("{ADDRESS} 2\r\n\r\n{ADDRESS}\t 3")),
        ]);
        let changes = changes(&all).unwrap();
        assert_eq!((changes.mines_for, changes.page), (Some(MinesFor::Solo), Some(PageFor::Watchers)));
        assert_eq!(changes.donation.unwrap().basis_points, 50);
        let weights: Vec<_> = changes.division.unwrap().iter().map(|part| part.weight.get()).collect();
        assert_eq!(weights, [2, 3]);
    }

    #[test]
    fn half_of_something_is_refused() {
        for wrong in [
            &[("mines_for", "me")][..],
            &[("page", "mine")],
            &[("donation_basis_points", "50")],
            &[("donation_address", ADDRESS)],
            &[("donation_basis_points", "70000"), ("donation_address", ADDRESS)],
            &[("division", ADDRESS)],
            &[("division", &format!("{ADDRESS} 0"))],
            &[("division", "x 1")],
        ] {
            assert_eq!(changes(&fields(wrong)).unwrap_err().code, RefusalCode::Invalid, "{wrong:?}");
        }
    }
}
