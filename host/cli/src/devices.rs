//! `trine devices`.

use anyhow::Result;
use serde_json::{Value, json};
use trine_inference::gpu::{Adapter, GpuKind};

use crate::args::{Common, Devices};

pub fn run(args: &Devices, common: &Common) -> Result<()> {
    let adapters = Adapter::all();
    let auto = Adapter::hardware(Adapter::all()).map(|adapter| adapter.index());
    let mut devices = vec![cpu(common)];
    for adapter in &adapters {
        devices.push(gpu(adapter, common)?);
    }
    if args.json {
        out!("{}", Value::from(devices));
        return Ok(());
    }
    for device in &devices {
        out!("{}  {}", text(device, "device"), text(device, "name"));
        for (key, value) in device.as_object().into_iter().flatten() {
            if !["device", "name"].contains(&key.as_str()) {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                out!("       {:<18} {shown}", key.replace('_', " "));
            }
        }
    }
    match auto {
        Some(index) => out!("auto takes gpu:{index}"),
        None if adapters.is_empty() => out!(
            "auto takes cpu: no GPU driver is installed, or no Vulkan loader (libvulkan1 on Debian)"
        ),
        None => out!("auto takes cpu: no adapter is hardware"),
    }
    Ok(())
}

fn cpu(common: &Common) -> Value {
    json!({
        "device": "cpu",
        "name": format!("{} threads", common.threads()),
        "instructions": trine_inference::cpu_instructions(),
        "fast_precisions": trine_inference::cpu_precisions().collect::<Vec<_>>().join(", "),
    })
}

fn gpu(adapter: &Adapter, common: &Common) -> Result<Value> {
    let (least, most) = adapter.subgroup_sizes();
    let units = adapter.matrix_units();
    let mut kernels = match adapter.open(common.gpu()?) {
        Ok(device) => format!("{}, {}", device.storage(), device.products()),
        Err(error) => format!("none: {error}"),
    };
    if adapter.kind() == GpuKind::Software {
        kernels += " (software: slower than the cpu device)";
    }
    Ok(json!({
        "device": format!("gpu:{}", adapter.index()),
        "name": adapter.name(),
        "kind": adapter.kind().to_string(),
        "driver": adapter.driver(),
        "backend": adapter.backend(),
        "f16": adapter.has_f16(),
        "matrix_units": units.map_or("none".to_owned(), |edge| format!("{edge}x{edge}, f16 to f32")),
        "subgroup": format!("{least} to {most}"),
        "binding_limit_mib": adapter.binding_limit() >> 20,
        "workgroup_memory_kib": adapter.workgroup_memory() >> 10,
        "kernels": kernels,
    }))
}

fn text<'a>(device: &'a Value, key: &str) -> &'a str {
    device.get(key).and_then(Value::as_str).unwrap_or_default()
}
