//! Writes the first files of the corpus, from which fuzzing starts: one of each message, and one of each kind of
//! operation, in the order in which a connection goes well.
//!
//! `cargo run --example seeds -- DIR` makes a folder for each target in `DIR`. `corpus/` holds these files, by name, and
//! as `found-N` some that fuzzing made of them: those that together run the most code beyond what the others run.

use std::fs;
use std::path::{Path, PathBuf};

use protocol_fuzz::messages;

fn main() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).expect("the folder to write to"));
    for (place, kind) in messages::ALL.iter().enumerate() {
        // Ones are short strings and sequences of one element, as far as lengths have one byte; zeros are empty ones.
        let short = |filler| (kind.round_trip)(&[filler; 20_000]).filter(|payload: &Vec<u8>| payload.len() <= 600);
        let payload = short(1).or_else(|| short(0)).expect("zeros are a short message of any kind");
        write(&dir, "messages", kind.name, &[&[place as u8, 1], &payload[..]].concat())?;
    }
    let share = messages::ALL.iter().position(|kind| kind.name == "SubmitSharesExtended").expect("it is a message");
    let worker = [0x00, 0x02, 0x01, 0x00, 0x02, b'w', b'1'];
    write(&dir, "messages", "worker", &[&[share as u8, 1], &[0; 25][..], &worker].concat())?;

    let template = messages::ALL.iter().position(|kind| kind.name == "NewTemplate").expect("it is a message");
    write(&dir, "messages", "padded-bool", &[&[template as u8, 0], &[0; 8][..], &[0xfe], &[0; 50]].concat())?;

    let pieces = [64, 7, 255, 1];
    for (attack, len, name) in [(0, 64, "act-1"), (0, 90, "act-1-and-more"), (1, 234, "act-2"), (2, 0, "untouched")] {
        write(&dir, "handshake", name, &[&[attack], &pieces[..], &vec![0x5a; len]].concat())?;
    }
    write(&dir, "handshake", "act-1-changed", &[&[2], &pieces[..], &[0, 0, 1]].concat())?;
    write(&dir, "handshake", "act-2-changed", &[&[3], &pieces[..], &[0; 200], &[0x80]].concat())?;
    let key = b"9bDuixKmZqAJnrmP746n8zU1wyAQRrus7th9dxnkPg6RzQvCnan";
    write(&dir, "handshake", "key", &[&[4], &pieces[..], &key[..]].concat())?;
    write(&dir, "handshake", "certificate", &[&[4], &pieces[..], &[0x79; 32], &[0; 74 + 64]].concat())?;

    for role in [0, 1] {
        // Two experimental frames, then jobs or shares: short ones, one of two blocks, one over the limit.
        let unknown = [0x80, 0x03, 0x00, 0x01, 2, 1, 0, 9, 9, 0x81, 0x00, 0x40, 0x10, 0, 0, 0];
        let (job, share, negotiation) = (19, 16, [41, 6, 1, 0, 1, 0, 1, 0, 2, 0]);
        let known = if role == 0 { share } else { job };
        let frame = |turns: u16| [&[known, 40][..], &turns.to_le_bytes(), &[0; 40]].concat();
        for (turns, name) in [(2, "short"), (1_700, "two-blocks"), (3_800, "too-long")] {
            let frames = [&unknown[..], &frame(1), &frame(turns), &frame(1)].concat();
            write(&dir, "frame", &format!("{name}-{role}"), &[&[role, 2, 9, 200, 3, 50], &frames[..]].concat())?;
        }
        for setting in [4, 7] {
            let frames = [&negotiation[..], &frame(1), &negotiation].concat();
            write(
                &dir,
                "frame",
                &format!("negotiated-{role}-{setting}"),
                &[&[role, setting, 0, 0, 0, 0], &frames[..]].concat(),
            )?;
            write(
                &dir,
                "frame",
                &format!("not-negotiated-{role}-{setting}"),
                &[&[role, setting, 0, 0, 0, 0], &frame(1)[..]].concat(),
            )?;
        }
    }

    // On the wire: all is delivered, both speak, extensions are asked for, all is delivered; then one attack.
    let talk = [0, 5, 0, 7, 0, 0x85, 2, 200, 0, 5, 2, 9, 0, 0x86, 4, 3, 0, 0];
    let attacks: [(&str, &[u8]); 8] = [
        ("none", &[]),
        ("pieces", &[5, 5, 0xff, 0xff, 1, 30, 0, 1, 0, 1, 3, 9, 0, 15]),
        ("flip", &[5, 0, 1, 0, 9, 3, 0, 1]),
        ("drop", &[0x85, 0, 1, 0, 0x8b, 4, 0, 2]),
        ("repeat", &[5, 0, 1, 0, 12]),
        ("inject", &[0x85, 0, 1, 0, 0x8d, 0, 4, 1, 2, 3, 4]),
        ("time", &[4, 0xff, 0xff]),
        ("wrong", &[7, 2, 3, 8, 1, 0x88, 1]),
    ];
    for (name, attack) in attacks {
        let input = [&[0, 2 + 8][..], &talk, attack, &[0]].concat();
        write(&dir, "connection", &format!("wire-{name}"), &input)?;
    }
    write(&dir, "connection", "wire-worker-unasked", &[0, 0, 0, 5, 2, 9, 0, 0])?;
    write(&dir, "connection", "wire-refused", &[0, 32, 0, 5, 0, 1, 0, 0])?;
    write(&dir, "connection", "wire-late", &[0, 0, 1, 10, 0, 4, 0xff, 0xff, 0])?;
    write(&dir, "connection", "wire-just-late", &[0, 0, 4, 0x10, 0x27, 0])?;
    write(&dir, "connection", "wire-just-in-time", &[0, 0, 1, 64, 0, 4, 0x0f, 0x27, 0])?;
    write(&dir, "connection", "wire-not-negotiated", &[0, 4, 0, 5, 0, 1, 0, 0])?;
    write(&dir, "connection", "wire-output-full", &[0, 1, 0, 0x85, 2, 0, 4, 5, 5, 0, 4, 0])?;
    write(&dir, "connection", "wire-two-blocks", &[0, 2 + 8, 0, 0x85, 2, 0xff, 0xff, 5, 5, 0xff, 0xff, 0])?;

    // Against a server: setup, extensions, a share, two jobs, time; and then an attack.
    let (share, sum) = ([2, 15, 4, 6, 0, 1, 2, 3, 4], [7, 0, 9, 0, 7, 2, 9, 0, 6, 9, 9]);
    let good = [&[0, 1, 5, 0, 2, 0][..], &share, &sum].concat();
    let attacks: [(&str, &[u8]); 6] = [
        ("none", &[]),
        ("flip", &[4, 16, 4, 6, 0, 1, 2, 3, 4, 3, 0, 0, 0, 1]),
        ("lie", &[5, 16, 4, 6, 0, 1, 2, 3, 4, 1, 0]),
        ("setup", &[0]),
        ("negotiation", &[1, 5, 0, 2, 0]),
        ("flood", &[8, 0xb8, 0x0b, 6, 1, 0]),
    ];
    for (name, attack) in attacks {
        let input = [&[1, 2][..], &good, attack].concat();
        write(&dir, "connection", &format!("bare-client-{name}"), &input)?;
    }
    write(&dir, "connection", "bare-client-refused", &[&[1, 2, 16][..], &share].concat())?;

    // Against a client: setup, an answer, a job, two shares, time; and then an attack.
    let job = [4, 10, 45, 1, 0].into_iter().chain([0; 45]).collect::<Vec<u8>>();
    let good = [&job[..], &[10, 0, 9, 0, 10, 2, 9, 0, 8, 9, 9]].concat();
    let attacks: [(&str, &[u8]); 7] = [
        ("none", &[]),
        ("flip", &[6, 16, 4, 6, 0, 1, 2, 3, 4, 3, 0, 0, 0, 1]),
        ("lie", &[7, 16, 4, 6, 0, 1, 2, 3, 4, 1, 0]),
        ("answer", &[28]),
        ("refusal", &[1]),
        ("negotiation", &[9, 2, 3, 16 + 16 + 9]),
        ("flood", &[12, 0xb8, 0x0b, 8, 1, 0]),
    ];
    for (name, attack) in attacks {
        let input = [&[2, 8, 0, 28][..], &good, attack].concat();
        write(&dir, "connection", &format!("bare-server-{name}"), &input)?;
    }
    write(&dir, "connection", "bare-server-unasked", &[2, 0, 0, 16 + 12])?;
    write(&dir, "connection", "bare-server-refuses", &[2, 0, 1, 0])?;
    write(&dir, "connection", "bare-server-other-version", &[2, 0, 0x80 + 2, 7, 0])?;
    Ok(())
}

fn write(dir: &Path, target: &str, name: &str, input: &[u8]) -> std::io::Result<()> {
    let dir = dir.join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name.replace('.', "-")), input)
}
