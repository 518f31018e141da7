//! Frames, compressed bodies and CBOR written by hand, so that any part of them can lie. Shared by the suites that send them
//! to the server and those that hand them to a device.

/// Longest run one compressed block states.
const RUN_BYTES_MAX: u32 = 128 << 10;

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}

/// A frame with a sound checksum over whatever it claims.
pub(crate) fn frame_claiming(kind: u8, flags: u8, body: &[u8], body_len: u32, raw_len: u32) -> Vec<u8> {
    let lengths = [body_len.to_le_bytes(), raw_len.to_le_bytes()].concat();
    let sum = crc32c(&[&[kind, flags], &lengths[..], body].concat());
    [b"HVSK", &[kind, flags][..], &lengths, &sum.to_le_bytes(), body].concat()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("small")
}

/// A plain frame.
pub(crate) fn plain_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    frame_claiming(kind, 0, body, length(body), length(body))
}

/// A frame whose body is compressed and claims to become `raw_len` bytes.
pub(crate) fn packed_frame(kind: u8, packed: &[u8], raw_len: u32) -> Vec<u8> {
    frame_claiming(kind, 1, packed, length(packed), raw_len)
}

/// A compressed body of `raw_len` times the same byte, with a window of this descriptor and this content size, true or not.
pub(crate) fn zstd_run(byte: u8, raw_len: u32, window: u8, content_size: Option<u64>) -> Vec<u8> {
    let flags = if content_size.is_some() { 0xc0 } else { 0 };
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, flags, window];
    bytes.extend(content_size.iter().flat_map(|size| size.to_le_bytes()));
    let mut left = raw_len;
    loop {
        let run = left.min(RUN_BYTES_MAX);
        left -= run;
        let is_last = u32::from(left == 0);
        bytes.extend(&(is_last | 1 << 1 | run << 3).to_le_bytes()[..3]);
        bytes.push(byte);
        if left == 0 {
            return bytes;
        }
    }
}

/// A compressed body that is `raw` as it is.
pub(crate) fn zstd_stored(raw: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x60];
    let mut parts = raw.chunks(RUN_BYTES_MAX as usize).peekable();
    while let Some(part) = parts.next() {
        let is_last = u32::from(parts.peek().is_none());
        bytes.extend(&(is_last | length(part) << 3).to_le_bytes()[..3]);
        bytes.extend(part);
    }
    bytes
}

/// Bodies that unpack to more, less or other bytes than they claim, or claim what no memory holds; with their raw length.
pub(crate) fn bombs(raw_max: u32) -> Vec<(&'static str, Vec<u8>, u32)> {
    const WINDOW_OF_8_MIB: u8 = 13 << 3;
    const WINDOW_OF_2_TIB: u8 = 0xff;
    let run = |raw_len, window, size| zstd_run(0, raw_len, window, size);
    let nested = zstd_stored(&zstd_stored(&run(raw_max, WINDOW_OF_8_MIB, None)));
    let nested_len = length(&zstd_stored(&run(raw_max, WINDOW_OF_8_MIB, None)));
    let skipped = [[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0].repeat(100_000), run(10, 0x60, None)].concat();
    let mut cut = run(raw_max, WINDOW_OF_8_MIB, None);
    cut.truncate(cut.len() - 3);
    vec![
        ("all it may take, of zeros", run(raw_max, WINDOW_OF_8_MIB, None), raw_max),
        ("a thousand times what it claims", run(raw_max * 200, WINDOW_OF_8_MIB, None), raw_max),
        ("a window of two tebibytes", run(1000, WINDOW_OF_2_TIB, None), 1000),
        ("a content size that lies upwards", run(1000, WINDOW_OF_8_MIB, Some(u64::MAX - 2)), 1000),
        ("a content size that lies downwards", run(raw_max, WINDOW_OF_8_MIB, Some(10)), raw_max),
        ("less than it claims", run(1000, WINDOW_OF_8_MIB, None), raw_max),
        ("one within another", nested, nested_len),
        ("fifty thousand empty ones", run(0, 0x60, None).repeat(50_000), 1000),
        ("a hundred thousand skipped ones", skipped, 10),
        ("a million in a row", run(64, 0x60, None).repeat(65_536), raw_max),
        ("one cut off", cut, raw_max),
        ("none at all", vec![], 1000),
        ("no compression ours knows", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], 1000),
    ]
}

fn head(major: u8, count: u64) -> Vec<u8> {
    [&[major << 5 | 27][..], &count.to_be_bytes()].concat()
}

/// CBOR no honest side writes, by what is wrong with it.
pub(crate) fn lying_cbor() -> Vec<(&'static str, Vec<u8>)> {
    const NONE: [u8; 0] = [];
    vec![
        ("an array of all the numbers", head(4, u64::MAX)),
        ("a map of all the numbers", head(5, u64::MAX)),
        ("bytes without end", head(2, u64::MAX - 8)),
        ("text of half the address space", [head(3, u64::MAX / 2), b"abc".to_vec()].concat()),
        ("arrays ten thousand deep", vec![0x81; 10_000]),
        ("arrays a million deep", vec![0x81; 1_000_000]),
        ("maps a million deep", [0xa1, 0].repeat(500_000)),
        ("endless arrays a million deep", vec![0x9f; 1_000_000]),
        ("endless maps a million deep", [0xbf, 0].repeat(500_000)),
        ("tags a million deep", vec![0xc1; 1_000_000]),
        ("an endless array of a million nothings", [&[0x9f][..], &vec![0xf6; 1_000_000], &[0xff]].concat()),
        ("bytes in a million pieces", [&[0x5f][..], &[0x41, 0].repeat(500_000), &[0xff]].concat()),
        ("text in endless text", vec![0x7f; 1000]),
        ("text that is none", vec![0x62, 0xff, 0xfe]),
        ("a lone break", vec![0xff]),
        ("a reserved head", vec![0x1c]),
        ("a number cut off", vec![0x1b, 1, 2]),
        ("nothing", NONE.to_vec()),
    ]
}
