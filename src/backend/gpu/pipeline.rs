//! Shader text -> pipelines and bind groups, by the names the shader gives its buffers.
//!
//! What a kernel binds stands in its WGSL alone: the layout is read off its
//! `@group(..) @binding(..)` lines. Variants that declare the same bindings share a
//! layout, so one bind group serves a kernel at every row count.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::device::Gpu;
use super::shader::Variant;
use crate::error::{Code, Error, Result};

/// The binding that moves from pass to pass of a round: bound with an offset.
const STATE: &str = "state";

/// How a shader uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Uniform,
    Read,
    Write,
}

/// One `@group(..) @binding(..) var<..> name: ..;` line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    group: u32,
    binding: u32,
    name: String,
    kind: Kind,
}

/// What a kernel binds.
pub struct Layout {
    slots: Vec<Slot>,
    groups: Vec<wgpu::BindGroupLayout>,
    pipeline: wgpu::PipelineLayout,
}

impl Layout {
    /// Whether it binds a state, and so takes an offset.
    pub fn has_state(&self) -> bool {
        self.slots.iter().any(|slot| slot.name == STATE)
    }
}

/// A compiled variant.
pub struct Kernel {
    /// The pipeline.
    pub pipeline: wgpu::ComputePipeline,
}

/// A buffer, or a part of one, by the name the shader gives it.
pub type Bound<'a> = (&'static str, wgpu::BufferBinding<'a>);

impl Gpu {
    /// The compiled variant; compiled now if it is the first time.
    ///
    /// # Errors
    /// `internal` for a defect in a shader's directives; `gpu_failed` naming the variant
    /// where the device refuses it.
    pub(super) async fn kernel(&self, variant: &Variant) -> Result<Rc<Kernel>> {
        if let Some(kernel) = self.kernels.borrow().get(variant) {
            return Ok(kernel.clone());
        }
        let source = variant.source()?;
        let layout = self.layout_of(&source, variant)?;
        let label = variant.label();
        let make = || {
            let module = self
                .device
                .create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(&label),
                    source: wgpu::ShaderSource::Wgsl(source.into()),
                });
            let pipeline = wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&layout.pipeline),
                module: &module,
                entry_point: Some("main"),
                // Kernels write all workgroup memory before they read it.
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            };
            self.device.create_compute_pipeline(&pipeline)
        };
        let pipeline = self.guarded(&label, make).await?;
        self.count(|c| c.pipeline_creations += 1);
        let kernel = Rc::new(Kernel { pipeline });
        self.kernels
            .borrow_mut()
            .insert(variant.clone(), kernel.clone());
        Ok(kernel)
    }

    /// Has the device's own compiler read the variant's text. Much cheaper than a
    /// pipeline, for which a software adapter takes seconds.
    ///
    /// # Errors
    /// As [`Gpu::kernel`].
    pub(super) async fn read_shader(&self, variant: &Variant) -> Result<()> {
        let source = variant.source()?;
        let label = variant.label();
        let make = || {
            self.device
                .create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(&label),
                    source: wgpu::ShaderSource::Wgsl(source.into()),
                })
        };
        self.guarded(&label, make).await.map(|_| ())
    }

    /// What the variant binds.
    ///
    /// # Errors
    /// `internal` for a defect in the shader.
    pub(super) fn layout(&self, variant: &Variant) -> Result<Rc<Layout>> {
        self.layout_of(&variant.source()?, variant)
    }

    fn layout_of(&self, source: &str, variant: &Variant) -> Result<Rc<Layout>> {
        let slots = slots(source).ok_or_else(|| {
            Error::new(
                Code::Internal,
                variant.kernel,
                "a binding's declaration is not one line",
            )
        })?;
        let key = format!("{slots:?}");
        if let Some(layout) = self.layouts.borrow().get(&key) {
            return Ok(layout.clone());
        }
        let n_groups = slots.iter().map(|s| s.group + 1).max().unwrap_or(0);
        let groups: Vec<_> = (0..n_groups)
            .map(|group| self.group_layout(&slots, group))
            .collect();
        let references: Vec<_> = groups.iter().map(Some).collect();
        let pipeline = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(variant.kernel),
                bind_group_layouts: &references,
                immediate_size: 0,
            });
        let layout = Rc::new(Layout {
            slots,
            groups,
            pipeline,
        });
        self.layouts.borrow_mut().insert(key, layout.clone());
        Ok(layout)
    }

    fn group_layout(&self, slots: &[Slot], group: u32) -> wgpu::BindGroupLayout {
        let slots = slots.iter().filter(|s| s.group == group);
        let entries: Vec<_> = slots
            .map(|slot| wgpu::BindGroupLayoutEntry {
                binding: slot.binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match slot.kind {
                        Kind::Uniform => wgpu::BufferBindingType::Uniform,
                        kind => wgpu::BufferBindingType::Storage {
                            read_only: kind == Kind::Read,
                        },
                    },
                    has_dynamic_offset: slot.name == STATE,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        self.device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            })
    }

    /// A bind group of `layout`: `bound` gives every binding of `group` its buffer, and
    /// may give more.
    ///
    /// # Errors
    /// `internal` where a binding has no buffer.
    pub(super) fn bind(
        &self,
        layout: &Layout,
        group: u32,
        bound: &[Bound<'_>],
    ) -> Result<wgpu::BindGroup> {
        let by_name: BTreeMap<_, _> = bound.iter().map(|(name, b)| (*name, b)).collect();
        let mut entries = Vec::new();
        for slot in layout.slots.iter().filter(|s| s.group == group) {
            let buffer = by_name.get(slot.name.as_str()).ok_or_else(|| {
                Error::new(
                    Code::Internal,
                    slot.name.as_str(),
                    "the shader binds it, but it has no buffer",
                )
            })?;
            entries.push(wgpu::BindGroupEntry {
                binding: slot.binding,
                resource: wgpu::BindingResource::Buffer((*buffer).clone()),
            });
        }
        self.count(|c| c.bind_group_creations += 1);
        Ok(self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout.groups[group as usize],
            entries: &entries,
        }))
    }
}

/// The bindings a module declares; `None` where a line is not understood.
fn slots(source: &str) -> Option<Vec<Slot>> {
    let lines = source
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("@group("));
    lines.map(slot).collect()
}

fn slot(line: &str) -> Option<Slot> {
    let rest = line.strip_prefix("@group(")?;
    let (group, rest) = rest.split_once(") @binding(")?;
    let (binding, rest) = rest.split_once(") var<")?;
    let (kind, rest) = rest.split_once("> ")?;
    let (name, _) = rest.split_once(':')?;
    let kind = match kind {
        "uniform" => Kind::Uniform,
        "storage, read" => Kind::Read,
        "storage, read_write" => Kind::Write,
        _ => return None,
    };
    Some(Slot {
        group: group.parse().ok()?,
        binding: binding.parse().ok()?,
        name: name.to_string(),
        kind,
    })
}
