//! Named tensors over sources that are read by range.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::quant::{DType, Quantize, dequantize, quantize};
use super::source::ByteSource;
use crate::error::{Code, Error, Result};

/// Where one tensor lies and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name the file gives it.
    pub name: String,
    /// Its element type; [`DType::Unknown`] is an error only once it is read.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first (as in PyTorch; GGUF's order reversed).
    pub shape: Vec<usize>,
    /// Which of the checkpoint's sources holds it.
    pub source: usize,
    /// Its bytes in that source.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// Elements in all; `None` where that overflows.
    pub fn n_elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }

    /// The tensor as a matrix, `(rows, columns)`: its last dimension is a row, all
    /// others together count the rows. A vector is one row.
    pub fn matrix(&self) -> (usize, usize) {
        match self.shape.split_last() {
            // Containers check that the product does not overflow.
            Some((&n_cols, rows)) => (rows.iter().product(), n_cols),
            None => (1, 1),
        }
    }

    /// Ranges of rows, in order, that each take up at most `max_bytes` in the
    /// file, or a single row where even that is longer: for streaming a tensor that
    /// is too large to hold.
    pub fn row_chunks(&self, max_bytes: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n_rows, n_cols) = self.matrix();
        let row_bytes = self.dtype.row_bytes(n_cols).unwrap_or(usize::MAX);
        let step = (max_bytes / row_bytes.max(1)).max(1);
        (0..n_rows)
            .step_by(step)
            .map(move |at| at..at.saturating_add(step).min(n_rows))
    }
}

/// How many elements and bytes a tensor of this type and shape has; for an unknown
/// type no bytes. `None` where that overflows, also where it only would without a
/// dimension of zero: whatever multiplies some of the dimensions may rely on it.
pub(super) fn size_of(dtype: DType, shape: &[usize]) -> Option<(usize, usize)> {
    let mut dims = shape.iter().map(|&d| d.max(1));
    let most = dims.try_fold(1usize, |n, d| n.checked_mul(d))?;
    most.checked_mul(dtype.block_bytes())?;
    let n_elements = if shape.contains(&0) { 0 } else { most };
    let n_blocks = n_elements.checked_div(dtype.block_len()).unwrap_or(0);
    Some((n_elements, n_blocks * dtype.block_bytes()))
}

/// One tensor's bytes, or those of some of its rows.
#[derive(Debug, Clone)]
pub struct RawTensor {
    /// The name the file gives it.
    pub name: String,
    /// Element type of `bytes`.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first.
    pub shape: Vec<usize>,
    /// The bytes, little-endian, `dtype`'s block layout.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// Its elements as numbers.
    ///
    /// # Errors
    /// `dtype_unsupported`, `tensor_shape` where bytes and shape disagree.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let n = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        // Checked before it is allocated.
        let n = n.filter(|&n| self.dtype.row_bytes(n) == Some(self.bytes.len()));
        let mut out = vec![0.0; n.unwrap_or(0)];
        let bytes = if n.is_some() {
            self.bytes.as_slice()
        } else {
            &[0]
        };
        let named = |e: Error| {
            Error::new(
                e.code(),
                &self.name,
                format!("{}: {}", e.subject(), e.detail()),
            )
        };
        dequantize(self.dtype, bytes, &mut out).map_err(named)?;
        Ok(out)
    }
}

/// The tensors of a checkpoint, whatever its container: a directory of names over
/// sources that are read by range.
#[derive(Clone, Default)]
pub struct TensorTable {
    sources: Vec<Rc<dyn ByteSource>>,
    tensors: BTreeMap<String, TensorInfo>,
    /// The type in the file of those tensors that are quantised while they are read.
    stored: BTreeMap<String, DType>,
}

impl TensorTable {
    /// A table over `sources`; every `TensorInfo::source` indexes it. Of two tensors
    /// with one name the later counts.
    pub fn new(
        sources: Vec<Rc<dyn ByteSource>>,
        tensors: impl IntoIterator<Item = TensorInfo>,
    ) -> Self {
        let tensors = tensors
            .into_iter()
            .map(|info| (info.name.clone(), info))
            .collect();
        Self {
            sources,
            tensors,
            stored: BTreeMap::new(),
        }
    }

    /// The same tensors, the large floats among them quantised while they are read
    /// ([`Quantize::dtype_for`] says which). From here on [`TensorTable::get`] tells
    /// the type they will have; `range` remains their place in the file.
    pub fn quantized(mut self, to: Quantize) -> Self {
        for info in self.tensors.values_mut() {
            if let Some(dtype) = to.dtype_for(info) {
                self.stored.insert(info.name.clone(), info.dtype);
                info.dtype = dtype;
            }
        }
        self
    }

    /// What is known of a tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none, as in a vocabulary-only file.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Reads one tensor whole.
    ///
    /// # Errors
    /// `tensor_missing`, `dtype_unsupported`, or what the source reports.
    pub async fn read(&self, name: &str) -> Result<RawTensor> {
        let info = self.info(name)?;
        let mut raw = self.read_rows(name, 0..info.matrix().0).await?;
        raw.shape = info.shape.clone();
        Ok(raw)
    }

    /// Reads some rows of a tensor, as [`TensorInfo::matrix`] counts them; the result
    /// has the shape `[rows.len(), columns]`.
    ///
    /// # Errors
    /// `tensor_missing`, `dtype_unsupported`, `tensor_shape` where there are fewer
    /// rows, or what the source reports; `not_finite` where a value to be quantised is
    /// NaN or infinite.
    pub async fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<RawTensor> {
        let info = self.info(name)?;
        let dtype = self.stored.get(name).copied().unwrap_or(info.dtype);
        if let DType::Unknown(_) = dtype {
            let detail = format!("element type {dtype} is not one this crate reads");
            return Err(Error::new(Code::DtypeUnsupported, name, detail));
        }
        let (n_rows, n_cols) = info.matrix();
        if rows.start > rows.end || rows.end > n_rows {
            let detail = format!("rows {}..{} of {n_rows}", rows.start, rows.end);
            return Err(Error::new(Code::TensorShape, name, detail));
        }
        let malformed = |detail: &str| Error::new(Code::TensorShape, name, detail);
        let row_bytes = dtype
            .row_bytes(n_cols)
            .ok_or_else(|| malformed("a row is no whole number of blocks"))?
            as u64;
        let at = |row: usize| {
            (row as u64)
                .checked_mul(row_bytes)?
                .checked_add(info.range.start)
        };
        let range = at(rows.start)
            .zip(at(rows.end))
            .map(|(start, end)| start..end);
        let range = range
            .filter(|range| range.end <= info.range.end)
            .ok_or_else(|| malformed("its shape needs more bytes than it has"))?;
        let source = self.sources.get(info.source).ok_or_else(|| {
            let detail = "its file is not part of the checkpoint";
            Error::new(Code::FileMissing, name, detail)
        })?;
        let mut raw = RawTensor {
            name: name.to_string(),
            dtype,
            shape: vec![rows.len(), n_cols],
            bytes: source.read(range).await?,
        };
        if dtype != info.dtype {
            let values = raw.to_f32()?;
            raw.bytes = quantize(info.dtype, &values)
                .map_err(|e| Error::new(e.code(), name, e.detail()))?;
            raw.dtype = info.dtype;
        }
        Ok(raw)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.get(name)
            .ok_or_else(|| Error::new(Code::TensorMissing, name, "not in the checkpoint"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::MemorySource;

    fn info(name: &str, dtype: DType, shape: &[usize], range: Range<u64>) -> TensorInfo {
        let (name, shape) = (name.to_string(), shape.to_vec());
        TensorInfo {
            name,
            dtype,
            shape,
            source: 0,
            range,
        }
    }

    /// One file: `w`, 4 rows of 32 floats, and `t`, of a type that cannot be read.
    fn table() -> TensorTable {
        let bytes = (0..128u16).flat_map(|i| f32::from(i).to_le_bytes());
        let source = Rc::new(MemorySource::new("m", bytes.collect()));
        let tensors = [
            info("w", DType::F32, &[2, 2, 32], 0..512),
            info("m", DType::F32, &[4, 32], 0..512),
            info("t", DType::from_ggml(16), &[256], 0..66),
            info("lies", DType::F32, &[2, 32], 384..512),
        ];
        TensorTable::new(vec![source], tensors)
    }

    fn rows(table: &TensorTable, name: &str, rows: Range<usize>) -> Result<RawTensor> {
        pollster::block_on(table.read_rows(name, rows))
    }

    #[test]
    fn rows_are_read_without_their_neighbours() {
        let table = table();
        let raw = rows(&table, "w", 1..3).unwrap();
        assert_eq!(
            (raw.shape.as_slice(), raw.bytes.len()),
            ([2, 32].as_slice(), 256)
        );
        assert_eq!(raw.to_f32().unwrap()[0], 32.0);
        let whole = pollster::block_on(table.read("w")).unwrap();
        assert_eq!(whole.shape, [2, 2, 32]);
        let mut streamed = Vec::new();
        for chunk in table.get("w").unwrap().row_chunks(300) {
            assert!(chunk.len() <= 2);
            streamed.extend(rows(&table, "w", chunk).unwrap().bytes);
        }
        assert_eq!(streamed, whole.bytes);
        let chunks: Vec<_> = table.get("w").unwrap().row_chunks(1).collect();
        assert_eq!(chunks, [0..1, 1..2, 2..3, 3..4]);
    }

    #[test]
    fn what_cannot_be_read_names_tensor_and_type() {
        let table = table();
        let error = rows(&table, "t", 0..1).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::DtypeUnsupported, "t")
        );
        assert!(error.detail().contains("IQ2_XXS"), "{error}");
        let error = rows(&table, "absent", 0..1).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::TensorMissing, "absent")
        );
        for (name, range) in [("w", 3..5), ("w", usize::MAX..usize::MAX), ("lies", 0..2)] {
            let error = rows(&table, name, range).unwrap_err();
            assert_eq!((error.code(), error.subject()), (Code::TensorShape, name));
        }
    }

    #[test]
    fn a_quantised_table_reads_blocks_and_says_so() {
        let table = table().quantized(Quantize::Q8_0);
        assert_eq!(table.get("m").unwrap().dtype, DType::Q8_0);
        assert_eq!(
            table.get("w").unwrap().dtype,
            DType::F32,
            "three dimensions"
        );
        let raw = rows(&table, "m", 1..2).unwrap();
        assert_eq!((raw.dtype, raw.bytes.len()), (DType::Q8_0, 34));
        let back = raw.to_f32().unwrap();
        assert!(
            back.iter()
                .zip(32..)
                .all(|(x, i)| (x - i as f32).abs() <= 63.0 / 254.0)
        );
        let whole = pollster::block_on(table.read("m")).unwrap();
        assert_eq!(
            whole.bytes[34..68],
            raw.bytes,
            "rows are quantised by themselves"
        );
    }

    #[test]
    fn bytes_that_are_not_the_shape_are_an_error() {
        let raw = RawTensor {
            name: "w".to_string(),
            dtype: DType::Q8_0,
            shape: vec![usize::MAX, 32],
            bytes: vec![0; 34],
        };
        let error = raw.to_f32().unwrap_err();
        assert_eq!((error.code(), error.subject()), (Code::TensorShape, "w"));
    }
}
