//! XML and HTML that is well formed whatever the texts are. Tags and texts go through quick-xml's writer; none is put
//! together by hand.

use std::io::Write;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use super::ReportError;

/// Attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// A document that is being written.
pub(super) struct Markup<'w> {
    writer: Writer<&'w mut dyn Write>,
}

impl<'w> Markup<'w> {
    /// Begins an XML document.
    pub(super) fn xml(out: &'w mut dyn Write) -> Result<Self, ReportError> {
        let mut markup = Self { writer: Writer::new_with_indent(out, b' ', 2) };
        markup.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        Ok(markup)
    }

    /// Begins an HTML page.
    pub(super) fn html(out: &'w mut dyn Write) -> Result<Self, ReportError> {
        let mut markup = Self { writer: Writer::new_with_indent(out, b' ', 1) };
        markup.event(Event::DocType(BytesText::from_escaped("html")))?;
        Ok(markup)
    }

    /// Ends the document.
    pub(super) fn end(self) -> Result<(), ReportError> {
        let out = self.writer.into_inner();
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Writes an element with what `inside` writes.
    pub(super) fn within(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.event(Event::Start(start(name, attributes)))?;
        inside(self)?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// Writes an element with a text.
    pub(super) fn text(&mut self, name: &str, attributes: Attributes<'_>, text: &str) -> Result<(), ReportError> {
        self.event(Event::Start(start(name, attributes)))?;
        self.event(Event::Text(BytesText::new(&allowed(text))))?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// Writes an element with a text by others, so that marks for the direction of text have no effect outside of it.
    pub(super) fn foreign(&mut self, name: &str, text: &str) -> Result<(), ReportError> {
        self.within(name, &[], |inside| inside.text("bdi", &[], text))
    }

    /// Writes an element without content.
    pub(super) fn empty(&mut self, name: &str, attributes: Attributes<'_>) -> Result<(), ReportError> {
        self.event(Event::Empty(start(name, attributes)))
    }

    /// Writes a comment. Two hyphens would end it, so they become others.
    pub(super) fn comment(&mut self, text: &str) -> Result<(), ReportError> {
        let text = format!(" {} ", allowed(text).replace('-', "\u{2010}"));
        self.event(Event::Comment(BytesText::from_escaped(text)))
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), ReportError> {
        Ok(self.writer.write_event(event)?)
    }
}

fn start<'a>(name: &'a str, attributes: Attributes<'_>) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (key, value) in attributes {
        start.push_attribute((*key, &*allowed(value)));
    }
    start
}

/// Replaces the characters that XML 1.0 (2.2) does not allow, however they are escaped.
fn allowed(text: &str) -> String {
    let forbidden =
        |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hostile_texts_stay_texts() {
        let mut bytes = Vec::new();
        let mut markup = Markup::xml(&mut bytes).unwrap();
        markup
            .within("a", &[("b", "\"><x y='")], |markup| {
                markup.comment("--> <x>")?;
                markup.text("c", &[], "</c><script>&\0")
            })
            .unwrap();
        markup.end().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("<x") || text.contains("<!-- \u{2010}\u{2010}> <x> -->"), "{text}");
        assert!(text.contains("&lt;/c&gt;&lt;script&gt;&amp;\u{fffd}</c>"), "{text}");
        assert!(text.contains("b=\"&quot;&gt;&lt;x y=&apos;\""), "{text}");
    }
}
