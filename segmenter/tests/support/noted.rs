//! What is said beside sound and pictures, put into an MPEG-TS that has none of it: a PID of splice_info_sections and
//! one of ID3 tags (ISO/IEC 13818-1, ANSI/SCTE 35).

/// Octets, and the time of the stream's clock (PCR, in seconds from its first) after which they come.
pub(crate) enum Note<'a> {
    Splice(f64, &'a [u8]),
    Id3(f64, &'a [u8]),
}

/// `plain` with `notes`, which are in order.
pub(crate) fn insert(plain: &[u8], notes: &[Note<'_>]) -> Vec<u8> {
    let (mut out, mut notes) = (Vec::new(), notes.iter().peekable());
    let (mut table, mut began, mut counts) = (None, None, [0u8; 2]);
    for packet in plain.chunks_exact(PACKET) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let starts = packet[1] & 0x40 != 0;
        if pid == 0 && starts {
            table = Some(u16::from_be_bytes([packet[15] & 0x1f, packet[16]]));
        }
        if Some(pid) == table && starts {
            out.extend(program_map(packet));
            continue;
        }
        out.extend_from_slice(packet);
        let Some(clock) = clock(packet) else { continue };
        let began = *began.get_or_insert(clock);
        while let Some(note) = notes.peek() {
            let (Note::Splice(at, _) | Note::Id3(at, _)) = note;
            if clock < began + (at * 90_000.0) as u64 {
                break;
            }
            match note {
                Note::Splice(_, section) => {
                    let payload = [&[0], *section].concat();
                    out.extend(packets(SPLICES, &payload, &mut counts[0], 0xff));
                }
                Note::Id3(_, tag) => {
                    out.extend(packets(TAGS, &stamped(tag, clock), &mut counts[1], 0))
                }
            }
            notes.next();
        }
    }
    out
}

/// The 33 bits of a packet's clock, in ticks of 1/90000 s.
fn clock(packet: &[u8]) -> Option<u64> {
    let has = packet[3] & 0x20 != 0 && packet[4] > 6 && packet[5] & 0x10 != 0;
    let octets: [u8; 5] = packet[6..11].try_into().ok()?;
    let value = octets
        .iter()
        .fold(0u64, |value, octet| value << 8 | u64::from(*octet));
    has.then_some(value >> 7)
}

/// The table of a packet, with two more streams in it.
fn program_map(packet: &[u8]) -> Vec<u8> {
    let section = &packet[5..];
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]]));
    let info = usize::from(u16::from_be_bytes([section[10] & 0x0f, section[11]]));
    let (head, rest) = section[..3 + length - 4].split_at(12);
    let (program, streams) = rest.split_at(info);
    let registered = [&[5, 4][..], b"CUEI"].concat();
    let id3 = [
        &[0x26, 13, 0xff, 0xff][..],
        b"ID3 ",
        &[0xff],
        b"ID3 ",
        &[0, 0x0f],
    ]
    .concat();
    let stream = |kind: u8, pid: u16, info: &[u8]| {
        let [high, low] = pid.to_be_bytes();
        [&[kind, 0xe0 | high, low, 0xf0, info.len() as u8][..], info].concat()
    };
    let mut table = [
        head,
        program,
        &registered,
        streams,
        &stream(0x86, SPLICES, &[]),
        &stream(0x15, TAGS, &id3),
    ]
    .concat();
    table[11] = (info + registered.len()) as u8;
    table[2] = (table.len() - 3 + 4) as u8;
    let sum = crc(&table);
    table.extend(sum.to_be_bytes());
    let mut out = packet[..5].to_vec();
    out.extend(table);
    out.resize(PACKET, 0xff);
    out
}

/// A packetized elementary stream's packet of private data with a time.
fn stamped(tag: &[u8], clock: u64) -> Vec<u8> {
    let time = [
        0x21 | (clock >> 29) as u8 & 0x0e,
        (clock >> 22) as u8,
        (clock >> 14) as u8 | 1,
        (clock >> 7) as u8,
        (clock << 1) as u8 | 1,
    ];
    let length = (tag.len() + 8) as u16;
    [
        &[0, 0, 1, 0xbd][..],
        &length.to_be_bytes(),
        &[0x84, 0x80, 5],
        &time,
        tag,
    ]
    .concat()
}

/// `payload` in packets of `pid`. What is left over is stuffed: sections behind their end, all else before.
fn packets(pid: u16, payload: &[u8], count: &mut u8, behind: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, piece) in payload.chunks(PACKET - 4).enumerate() {
        let start = if place == 0 { 0x40 } else { 0 };
        let [high, low] = pid.to_be_bytes();
        let room = PACKET - 4 - piece.len();
        let field = behind == 0 && room > 0;
        let control = if field { 0x30 } else { 0x10 } | *count;
        out.extend([0x47, start | high, low, control]);
        *count = (*count + 1) & 15;
        if field {
            let mut stuffing = vec![0xff; room];
            stuffing[0] = (room - 1) as u8;
            if room > 1 {
                stuffing[1] = 0;
            }
            out.extend(stuffing);
        }
        out.extend_from_slice(piece);
        if !field {
            out.extend(std::iter::repeat_n(0xff, room));
        }
    }
    out
}

/// A `splice_insert()` of event `event`: out of the network at `at` (ticks) for `duration`, or back.
pub(crate) fn splice(event: u32, at: Option<u64>, duration: Option<u64>) -> Vec<u8> {
    let long = |flags: u8, value: u64| {
        let value = value & ((1 << 33) - 1);
        let mut octets = value.to_be_bytes()[3..].to_vec();
        octets[0] |= flags;
        octets
    };
    let out = if duration.is_some() {
        0xc0 | 0x20
    } else {
        0x40
    };
    let at_once = if at.is_none() { 0x10 } else { 0 };
    let mut command = event.to_be_bytes().to_vec();
    command.extend([0x7f, out | at_once | 0x0f]);
    command.extend(at.map(|at| long(0xfe, at)).unwrap_or_default());
    command.extend(
        duration
            .map(|duration| long(0xfe, duration))
            .unwrap_or_default(),
    );
    command.extend([0, 1, 0, 0]);
    let mut section = vec![0xfc, 0x30, 0];
    section.extend([0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, command.len() as u8, 5]);
    section.extend(&command);
    section.extend([0, 0]);
    section[2] = (section.len() - 3 + 4) as u8;
    let sum = crc(&section);
    section.extend(sum.to_be_bytes());
    section
}

fn crc(octets: &[u8]) -> u32 {
    octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet) << 24, |crc, _| match crc >> 31 {
            1 => crc << 1 ^ 0x04c1_1db7,
            _ => crc << 1,
        })
    })
}

const PACKET: usize = 188;
const SPLICES: u16 = 0x1f0;
const TAGS: u16 = 0x1f1;
