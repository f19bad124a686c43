//! WebGPU from Rust, in the browser that the suite runs in.

use wasm_bindgen_test::wasm_bindgen_test;

/// Doubles every element: enough to know that a shader compiles, binds, runs and
/// can be read back.
const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) {
        x[id.x] = 2.0 * x[id.x];
    }
}
";

#[wasm_bindgen_test]
async fn a_compute_shader_runs_in_a_worker() {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::BROWSER_WEBGPU;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await;
    let adapter = match adapter {
        Ok(adapter) => adapter,
        Err(error) => return crate::skip("gpu", &format!("no WebGPU adapter: {error}")),
    };
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor::default())
        .await
        .expect("an adapter gives a device");

    let x: Vec<f32> = (0..1000).map(|i| i as f32 / 8.0).collect();
    let bytes: &[u8] = bytemuck::cast_slice(&x);
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.len() as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    use wgpu::BufferUsages as Usage;
    let data = buffer(Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST);
    let readback = buffer(Usage::MAP_READ | Usage::COPY_DST);
    queue.write_buffer(&data, 0, bytes);

    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("double"),
        source: wgpu::ShaderSource::Wgsl(DOUBLE.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("double"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: data.as_entire_binding(),
        }],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(x.len().div_ceil(64) as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&data, 0, &readback, 0, bytes.len() as u64);
    queue.submit([encoder.finish()]);

    let (mapped, when_mapped) = futures_channel();
    readback.slice(..).map_async(wgpu::MapMode::Read, mapped);
    when_mapped.await.expect("the promise settles");
    let mapped = readback.slice(..).get_mapped_range().expect("it is mapped");
    let doubled: Vec<f32> = bytemuck::cast_slice(&mapped).to_vec();
    let expected: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    assert_eq!(doubled, expected);
}

/// A callback for wgpu and the promise that it settles.
fn futures_channel() -> (
    impl FnOnce(Result<(), wgpu::BufferAsyncError>) + 'static,
    wasm_bindgen_futures::JsFuture,
) {
    let mut settle = None;
    let promise = js_sys::Promise::new(&mut |resolve, reject| settle = Some((resolve, reject)));
    let (resolve, reject) = settle.expect("the executor runs at once");
    let callback = move |result: Result<(), wgpu::BufferAsyncError>| {
        let function = if result.is_ok() { resolve } else { reject };
        let _ = function.call0(&wasm_bindgen::JsValue::NULL);
    };
    (callback, promise.into())
}

/// A device, or a line that says that there is none.
async fn gpu() -> Option<std::rc::Rc<tandem::backend::gpu::Gpu>> {
    match tandem::backend::gpu::Gpu::open(&Default::default()).await {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            crate::skip("gpu", &error.to_string());
            None
        }
    }
}

/// Browsers read WGSL more strictly than naga does. Pipelines of all of them take a
/// software adapter many minutes: `tests/kernels` makes them natively, and the models
/// tested beside this make those they need here.
#[wasm_bindgen_test]
async fn every_shader_is_accepted_by_a_browser() {
    let Some(gpu) = gpu().await else { return };
    let n = tandem::backend::gpu::check_all(&gpu).await.unwrap();
    assert!(n > 100, "only {n}");
}
