//! Checkpoint files for tests: tiny writers of GGUF and safetensors, which also write
//! what no honest tool would.

/// Writes a GGUF file.
#[derive(Clone)]
pub struct GgufWriter {
    version: u32,
    alignment: u64,
    kv: Vec<Vec<u8>>,
    tensors: Vec<Tensor>,
}

#[derive(Clone)]
struct Tensor {
    name: Vec<u8>,
    /// Slowest first, as in PyTorch.
    shape: Vec<u64>,
    ggml_type: u32,
    bytes: Vec<u8>,
    /// Instead of the place it gets.
    offset: Option<u64>,
}

/// A value to write: GGUF's type number and bytes.
pub struct Kv(u32, Vec<u8>);

impl From<&str> for Kv {
    fn from(v: &str) -> Kv {
        Kv(8, string(v.as_bytes()))
    }
}

impl From<bool> for Kv {
    fn from(v: bool) -> Kv {
        Kv(7, vec![v.into()])
    }
}

macro_rules! numbers {
    ($($id:literal $type:ty)*) => {$(
        impl From<$type> for Kv {
            fn from(v: $type) -> Kv {
                Kv($id, v.to_le_bytes().to_vec())
            }
        }

        impl From<&[$type]> for Kv {
            fn from(v: &[$type]) -> Kv {
                let mut bytes = array_head($id, v.len() as u64);
                v.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
                Kv(9, bytes)
            }
        }
    )*};
}

numbers! { 0 u8 1 i8 2 u16 3 i16 4 u32 5 i32 6 f32 10 u64 11 i64 12 f64 }

impl From<&[&str]> for Kv {
    fn from(v: &[&str]) -> Kv {
        let mut bytes = array_head(8, v.len() as u64);
        v.iter().for_each(|v| bytes.extend(string(v.as_bytes())));
        Kv(9, bytes)
    }
}

/// The type and count an array begins with.
pub fn array_head(element_type: u32, count: u64) -> Vec<u8> {
    let mut bytes = element_type.to_le_bytes().to_vec();
    bytes.extend(count.to_le_bytes());
    bytes
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u64).to_le_bytes().to_vec();
    out.extend(bytes);
    out
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self {
            version: 3,
            alignment: 32,
            kv: Vec::new(),
            tensors: Vec::new(),
        }
    }
}

impl GgufWriter {
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Where tensors are placed, and the key that says so.
    pub fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment.into();
        self.kv("general.alignment", alignment)
    }

    pub fn kv(self, key: &str, value: impl Into<Kv>) -> Self {
        let Kv(type_id, bytes) = value.into();
        self.raw_kv(key.as_bytes(), type_id, &bytes)
    }

    /// A key-value of any bytes.
    pub fn raw_kv(mut self, key: &[u8], type_id: u32, value: &[u8]) -> Self {
        let mut bytes = string(key);
        bytes.extend(type_id.to_le_bytes());
        bytes.extend(value);
        self.kv.push(bytes);
        self
    }

    /// `shape` is slowest first.
    pub fn tensor(mut self, name: &str, ggml_type: u32, shape: &[u64], bytes: &[u8]) -> Self {
        self.tensors.push(Tensor {
            name: name.as_bytes().to_vec(),
            shape: shape.to_vec(),
            ggml_type,
            bytes: bytes.to_vec(),
            offset: None,
        });
        self
    }

    pub fn f32_tensor(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        self.tensor(name, 0, shape, &f32_bytes(values))
    }

    /// Lies about where the last tensor is.
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.tensors.last_mut().expect("a tensor").offset = Some(offset);
        self
    }

    /// Renames the last tensor to any bytes.
    pub fn named(mut self, name: &[u8]) -> Self {
        self.tensors.last_mut().expect("a tensor").name = name.to_vec();
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.kv.len() as u64).to_le_bytes());
        out.extend(self.kv.concat());
        let mut data = Vec::new();
        for tensor in &self.tensors {
            pad(&mut data, self.alignment);
            out.extend(string(&tensor.name));
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor
                .shape
                .iter()
                .rev()
                .for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(tensor.ggml_type.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
        }
        if !self.tensors.is_empty() {
            pad(&mut out, self.alignment);
        }
        out.extend(data);
        out
    }
}

fn pad(bytes: &mut Vec<u8>, alignment: u64) {
    bytes.resize((bytes.len() as u64).next_multiple_of(alignment) as usize, 0);
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A safetensors file of these `(name, dtype, shape, bytes)`, one after the other.
pub fn safetensors(tensors: &[(&str, &str, &[u64], &[u8])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(*bytes);
        let name = serde_json::to_string(name).expect("a string");
        let end = data.len();
        entries.push(format!(
            r#"{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    safetensors_raw(&format!("{{{}}}", entries.join(",")), &data)
}

/// A safetensors file with this header and these bytes, whatever they are.
pub fn safetensors_raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}
