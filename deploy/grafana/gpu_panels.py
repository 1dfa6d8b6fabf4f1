"""What the dashboard shows of GPUs, and of the models on them."""

from __future__ import annotations

from deploy.grafana.expressions import SERVICE, gauge
from deploy.grafana.panel import Panel, Row

GPU = Row(
    "GPU",
    (
        Panel(
            "Models on a GPU",
            "Versions on one, over all instances; and those on the CPU that may have one.",
            "short",
            {
                "on a GPU {{model}}": gauge("inferctl_model_on_cuda"),
                "fell back {{model}}": gauge("inferctl_model_fell_back"),
            },
        ),
        Panel(
            "Memory of the GPU by model",
            "What each took to load and to warm up.",
            "bytes",
            {"{{model}} {{version}}": gauge("inferctl_model_device_bytes", "model, version")},
        ),
        Panel(
            "Memory of the GPU",
            "Of all programs that use it.",
            "bytes",
            {
                "used {{instance}} {{gpu}}": gauge(
                    "inferctl_gpu_memory_used_bytes", "instance, gpu", SERVICE
                ),
                "total {{instance}} {{gpu}}": gauge(
                    "inferctl_gpu_memory_total_bytes", "instance, gpu", SERVICE
                ),
            },
        ),
        Panel(
            "Utilisation of the GPU",
            "Share of the time in which something ran on it.",
            "percentunit",
            {
                "{{instance}} {{gpu}}": gauge(
                    "inferctl_gpu_utilization_ratio", "instance, gpu", SERVICE
                )
            },
        ),
        Panel(
            "Power and temperature of the GPU",
            "Watts, and degrees Celsius.",
            "short",
            {
                "W {{instance}} {{gpu}}": gauge(
                    "inferctl_gpu_power_watts", "instance, gpu", SERVICE
                ),
                "°C {{instance}} {{gpu}}": gauge(
                    "inferctl_gpu_temperature_celsius", "instance, gpu", SERVICE
                ),
            },
        ),
    ),
)
