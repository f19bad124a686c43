//! The kernels' uniform blocks: each is written once, here, and its WGSL is made
//! from the same lines (`#import params` in a shader).

/// Declares uniform blocks of four-byte scalars, in Rust and in WGSL at once. The
/// layouts agree because every member is four bytes with alignment four.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ident,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }

        impl $name {
            /// The same block as a WGSL declaration of `Params`.
            pub const WGSL: &'static str =
                concat!("struct Params {\n", $(stringify!($field), ": ", stringify!($ty), ",\n",)* "}\n");
        }
    )*};
}

params! {
    /// A projection: `norm_linear`, `linear_add`, `norm_gate_up`, `head`.
    Matvec {
        /// Blocks of 32 weights a matrix row.
        n_blocks: u32,
        /// Matrix rows in this segment.
        n_out: u32,
        /// Where the segment's first row goes in an output row.
        first_out: u32,
        /// Word where each plane of the weights begins (see `weights::format`).
        plane_1: u32,
        /// As above.
        plane_2: u32,
        /// As above.
        plane_3: u32,
        /// Elements an output row.
        out_stride: u32,
        /// Elements an input row, without padding: what a norm's mean runs over.
        n_in: u32,
        /// Added to the mean square.
        eps: f32,
        /// Multiplies the result.
        scale: f32,
        /// Soft-cap of logits; 0 where there is none.
        softcap: f32,
    }

    /// `embed`.
    Embed {
        /// Blocks of 32 weights a table row.
        n_blocks: u32,
        /// Table rows in this segment.
        n_out: u32,
        /// The segment's first token.
        first_out: u32,
        /// As in `Matvec`.
        plane_1: u32,
        /// As in `Matvec`.
        plane_2: u32,
        /// As in `Matvec`.
        plane_3: u32,
        /// Multiplies the row.
        scale: f32,
    }

    /// `norm_add`.
    NormAdd {
        /// Elements a row, without padding.
        n: u32,
        /// Elements from one row to the next.
        stride: u32,
        /// Added to the mean square.
        eps: f32,
        /// Multiplies the normed row.
        scale: f32,
    }

    /// `rope_append`.
    RopeAppend {
        /// Elements from one row of `qkv` to the next.
        qkv_stride: u32,
        /// Query heads.
        n_heads: u32,
        /// Key and value heads.
        n_kv_heads: u32,
        /// Heads one workgroup takes of queries, and of keys and values.
        q_group: u32,
        /// As above.
        kv_group: u32,
        /// Leading dimensions that rotate.
        n_rot: u32,
        /// Of the query norm.
        q_eps: f32,
        /// Of the key norm.
        k_eps: f32,
        /// Multiplies cosine and sine.
        magnitude: f32,
    }

    /// `attention` and `attention_merge`.
    Attention {
        /// Elements from one row of `qkv` to the next.
        qkv_stride: u32,
        /// Elements from one row of the output to the next.
        out_stride: u32,
        /// Query heads.
        n_heads: u32,
        /// Key and value heads.
        n_kv_heads: u32,
        /// Splits the cache is cut into: room for as many partial results a head.
        n_splits: u32,
        /// Positions a row sees, itself included; `u32::MAX` for all.
        window: u32,
        /// Multiplies scores.
        scale: f32,
        /// Soft-cap of scores; 0 where there is none.
        softcap: f32,
    }

    /// `sample`.
    Sample {
        /// Logits a row.
        n_vocab: u32,
    }

    /// `kv_move`.
    KvMove {
        /// Vectors of four words a token.
        width: u32,
    }
}
