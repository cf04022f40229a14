//! XML as the lists use it: elements, attributes and text. Nothing is declared, included or expanded.
//!
//! Owns the limits on markup. It refuses document types and all entities but XML's own five and character references,
//! and takes names without their namespace: publishers have changed theirs more than once.

use std::borrow::Cow;
use std::io::Read;

use quick_xml::Reader;
use quick_xml::errors::SyntaxError;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::super::draft::Draft;
use super::super::list::{
    ListError, ListFormat, ListSource, MAX_ATTRIBUTES, MAX_DEPTH, MAX_PIECE_BYTES, SanctionsList, quoted,
};
use super::super::reading::Source;

/// The opening tag of an element.
pub(super) struct Element<'a> {
    tag: &'a BytesStart<'a>,
    /// Its name, without a prefix.
    pub(super) name: &'a str,
    /// How deep it is; the root is at 1.
    pub(super) depth: usize,
}

impl Element<'_> {
    /// Returns the value of an attribute, by its name without a prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let attribute =
            self.tag.attributes().flatten().find(|attribute| attribute.key.local_name().into_inner() == name)?;
        // References were checked when the tag was read.
        unescape(&attribute.value).ok().map(Cow::into_owned)
    }

    /// Returns whether an attribute says true; it is false if it is missing.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.attribute(name)?.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}

/// What makes a list of a format's elements.
pub(super) trait Layout {
    /// The format.
    const FORMAT: ListFormat;
    /// The name of the root element.
    const ROOT: &'static str;

    /// Returns what is written into.
    fn draft(&mut self) -> &mut Draft;

    /// Takes the opening tag of an element, also of an empty one.
    fn open(&mut self, element: &Element<'_>) -> Result<(), ListError>;

    /// Takes the end of an element at `depth`, with the text since the last tag: all of it, if it has no children.
    fn close(&mut self, name: &str, depth: usize, text: &str) -> Result<(), ListError>;

    /// Takes the end of the file and returns what is missing, if that makes it no list of the format.
    fn missing(&self) -> Option<String>;

    /// Returns the file's date.
    fn publication_date(&mut self) -> Option<jiff::civil::Date>;

    /// Gives the draft up.
    fn into_draft(self) -> Draft;
}

/// Reads a whole list.
///
/// # Errors
///
/// As [`ListError`] says.
pub(super) fn read_list<L: Layout>(
    mut layout: L,
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    let mut reader = Reader::from_reader(Source::new(input, "a tag or text", MAX_PIECE_BYTES, progress));
    reader.config_mut().expand_empty_elements = true;
    read_elements(&mut reader, &mut layout)?;
    let digest = reader.into_inner().finish()?;
    if let Some(fault) = layout.missing() {
        return Err(ListError::Layout { format: L::FORMAT, fault });
    }
    let publication_date = layout.publication_date();
    if publication_date.is_none() {
        layout.draft().warn("", "the list bears no date of publication");
    }
    Ok(layout.into_draft().finish(source, L::FORMAT, publication_date, digest))
}

fn read_elements<L: Layout, R: Read>(reader: &mut Reader<Source<'_, R>>, layout: &mut L) -> Result<(), ListError> {
    let (mut buffer, mut text) = (Vec::new(), String::new());
    let (mut depth, mut has_root) = (0, false);
    loop {
        buffer.clear();
        reader.get_mut().begin_piece();
        let position = reader.buffer_position();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => return Err(read_error(reader, &error)),
        };
        let malformed = |fault: String| ListError::Malformed { position, fault };
        match event {
            Event::Start(tag) => {
                layout.draft().at(position);
                let name = tag.local_name().into_inner();
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(limit("the depth of elements", MAX_DEPTH, position));
                }
                if depth == 1 && (has_root || name != L::ROOT) {
                    let fault = format!("an element {} instead of one {:?}", quoted(name), L::ROOT);
                    return Err(ListError::Layout { format: L::FORMAT, fault });
                }
                has_root = true;
                check_attributes(&tag, position)?;
                text.clear();
                layout.open(&Element { tag: &tag, name, depth })?;
            }
            Event::End(tag) => {
                layout.draft().at(position);
                layout.close(tag.local_name().into_inner(), depth, text.trim())?;
                text.clear();
                // The reader has checked that it closes the last one opened.
                depth -= 1;
            }
            Event::Text(piece) => append(&mut text, &piece, depth, position)?,
            Event::CData(piece) => append(&mut text, &piece, depth, position)?,
            Event::GeneralRef(reference) => {
                let c = resolve(&reference).ok_or_else(|| malformed(format!("reference {}", quoted(&reference))))?;
                append(&mut text, c.encode_utf8(&mut [0; 4]), depth, position)?;
            }
            Event::Decl(declaration) => {
                // Without a declaration, and in all published lists, it is UTF-8.
                let encoding = declaration.encoding().transpose().map_err(|error| malformed(error.to_string()))?;
                if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
                    return Err(malformed(format!("encoding {} instead of UTF-8", quoted(&encoding))));
                }
            }
            Event::DocType(_) => return Err(ListError::DocumentType { position }),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof if depth > 0 || !has_root => return Err(ListError::Truncated { position }),
            Event::Eof => return Ok(()),
            // Empty elements are expanded.
            Event::Empty(_) => return Err(malformed("an empty element was not expanded".to_owned())),
        }
    }
}

fn append(text: &mut String, piece: &str, depth: usize, position: u64) -> Result<(), ListError> {
    if depth == 0 && !piece.trim().is_empty() {
        return Err(ListError::Malformed { position, fault: format!("text {} outside of elements", quoted(piece)) });
    }
    if text.len() + piece.len() > MAX_PIECE_BYTES {
        return Err(limit("the text of an element", MAX_PIECE_BYTES, position));
    }
    text.push_str(piece);
    Ok(())
}

fn limit(what: &'static str, limit: usize, position: u64) -> ListError {
    ListError::Limit { what, limit: limit as u64, position }
}

/// Checks that a tag's attributes are well-formed, few, and refer to nothing that would have to be declared.
fn check_attributes(tag: &BytesStart<'_>, position: u64) -> Result<(), ListError> {
    let malformed = |fault: String| ListError::Malformed { position, fault };
    for (count, attribute) in tag.attributes().enumerate() {
        if count >= MAX_ATTRIBUTES {
            return Err(limit("the number of attributes", MAX_ATTRIBUTES, position));
        }
        let attribute = attribute.map_err(|error| malformed(error.to_string()))?;
        if attribute.value.contains('&') {
            unescape(&attribute.value).map_err(|error| malformed(error.to_string()))?;
        }
    }
    Ok(())
}

fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if reference.is_char_ref() {
        return reference.resolve_char_ref().ok().flatten();
    }
    match &**reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

fn read_error<R: Read>(reader: &mut Reader<Source<'_, R>>, error: &quick_xml::Error) -> ListError {
    let position = reader.buffer_position();
    if let Some(fault) = reader.get_mut().take_fault() {
        return fault;
    }
    match error {
        // All other errors of syntax are that the file ends before something is closed.
        quick_xml::Error::Syntax(SyntaxError::InvalidBangMarkup) => {
            ListError::Malformed { position, fault: error.to_string() }
        }
        quick_xml::Error::Syntax(_) => ListError::Truncated { position },
        error => ListError::Malformed { position, fault: quoted(&error.to_string()) },
    }
}
