//! Texts that are made to be slow or to need much memory.

/// One piece over and over.
pub fn repeated(piece: &str, size: usize) -> Vec<u8> {
    piece.as_bytes().repeat(size / piece.len() + 1)
}

/// A start, one piece over and over, and an end.
pub fn framed(start: &str, piece: &str, end: &str, size: usize) -> Vec<u8> {
    [start.as_bytes(), &repeated(piece, size), end.as_bytes()].concat()
}

/// A few that no parser of texts should mind: one letter, one line break, deep brackets, bytes of no text.
pub fn plain(size: usize) -> Vec<Vec<u8>> {
    vec![repeated("a", size), repeated("\n", size), repeated("[{\"a\":", size), vec![0xFF; size]]
}

/// Documents of JSON: deep, wide, one long text, one long number.
pub fn json(size: usize) -> Vec<Vec<u8>> {
    let mut all = plain(size);
    all.push(framed("[", "0,", "0]", size));
    all.push(framed("{\"a\":\"", "\\u0000", "\"}", size));
    all.push(framed("{\"a\":", "9", "}", size));
    all.push(framed("{\"a\":0", ",\"a\":0", "}", size));
    all
}
