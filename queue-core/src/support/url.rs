//! Reading URLs.

/// Decodes `%` and two hexadecimal digits as the byte that they name; `+` is
/// itself, as outside of forms (RFC 3986, section 2.1).
///
/// # Errors
/// What is wrong, in words for whoever wrote the URL and without a part of it,
/// which may be a password: a `%` that no two digits follow, or bytes that are
/// no UTF-8.
pub fn percent_decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest
            .split_at_checked(2)
            .filter(|(digits, _)| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|(digits, after)| Some((std::str::from_utf8(digits).ok()?, after)));
        let Some((digits, after)) = digits else {
            return Err(
                "the URL has a `%` without two hexadecimal digits; write a percent sign as `%25`",
            );
        };
        bytes.extend(u8::from_str_radix(digits, 16));
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| "the URL holds what is no UTF-8 text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        for (text, decoded) in [
            ("", ""),
            ("a+b c", "a+b c"),
            ("%25%2f%2F", "%//"),
            ("%c3%A9é", "éé"),
            ("%00", "\0"),
        ] {
            assert_eq!(percent_decode(text).as_deref(), Ok(decoded), "{text}");
        }
    }

    #[test]
    fn what_is_garbled_is_refused() {
        for text in ["%", "a%2", "%zz", "%+1", "%é1", "%%25"] {
            assert!(percent_decode(text).unwrap_err().contains("%25"), "{text}");
        }
        assert!(percent_decode("%ff").unwrap_err().contains("UTF-8"));
    }
}
