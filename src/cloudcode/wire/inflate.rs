//! gzip, piece by piece (RFC 1952).

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// A decoder that is fed as pieces arrive.
pub(super) struct Inflate {
    decoder: MultiGzDecoder<Vec<u8>>,
    fed: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), fed: false }
    }

    /// What `piece` and those before it make, as far as it was not handed out.
    pub(super) fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.fed |= !piece.is_empty();
        self.decoder.write_all(piece)?;
        self.decoder.flush()?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }

    /// Whether nothing is missing: the last member came to its end, or there was none at all.
    pub(super) fn is_whole(&mut self) -> bool {
        !self.fed || self.decoder.try_finish().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(pieces: &[&str]) -> Vec<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut out = Vec::new();
        for piece in pieces {
            encoder.write_all(piece.as_bytes()).unwrap();
            encoder.flush().unwrap();
            out.push(std::mem::take(encoder.get_mut()));
        }
        out.push(encoder.finish().unwrap());
        out
    }

    #[test]
    fn each_piece_is_there_when_it_came() {
        let mut inflate = Inflate::new();
        let pieces = packed(&["data: 1\n\n", "data: 2\n\n"]);
        assert_eq!(inflate.push(&pieces[0]).unwrap(), "data: 1\n\n");
        assert_eq!(inflate.push(&pieces[1]).unwrap(), "data: 2\n\n");
        assert_eq!(inflate.push(&pieces[2]).unwrap(), "");
        assert!(inflate.is_whole());
    }

    #[test]
    fn what_is_cut_is_not_whole_and_what_is_no_gzip_an_error() {
        let mut inflate = Inflate::new();
        inflate.push(&packed(&["data: 1\n\n"])[0]).unwrap();
        assert!(!inflate.is_whole());
        assert!(Inflate::new().push(b"no gzip at all").is_err());
        assert!(Inflate::new().is_whole());
    }
}
