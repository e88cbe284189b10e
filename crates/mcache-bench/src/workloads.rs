//! The workloads: how a trace is multiplied, and at which memory limits it is measured.

/// A workload.
#[derive(Debug)]
pub struct Row {
    /// Its trace file, without the ending.
    pub name: &'static str,
    /// Independent copies of the trace that run side by side.
    pub copies: u64,
    /// Requests of each copy; 0 for all.
    pub limit: usize,
    /// Memory limits in MB, each with the miss ratio of memcached 1.6.45 where it was measured.
    pub sizes: &'static [(u64, Option<f64>)],
}

/// The workloads.
pub const WORKLOADS: &[Row] = &[
    Row {
        name: "orm-busy",
        copies: 32,
        limit: 625_000,
        sizes: &[(12, Some(0.2267)), (41, Some(0.1665)), (123, Some(0.1107))],
    },
    Row { name: "web12", copies: 64, limit: 0, sizes: &[(21, Some(0.5013)), (70, Some(0.3145))] },
    Row {
        name: "lirs-multi3",
        copies: 200,
        limit: 0,
        sizes: &[(12, Some(0.9083)), (42, Some(0.6833))],
    },
    Row {
        name: "arc-OLTP",
        copies: 12,
        limit: 0,
        sizes: &[(19, Some(0.5123)), (63, Some(0.3577))],
    },
    Row {
        name: "scarab-recs",
        copies: 8,
        limit: 0,
        sizes: &[(43, Some(0.5392)), (144, Some(0.4155))],
    },
    Row {
        name: "cloudPhysicsIO",
        copies: 1,
        limit: 0,
        sizes: &[(59, Some(0.8204)), (198, Some(0.7918))],
    },
    Row { name: "c52", copies: 1, limit: 0, sizes: &[(9, Some(0.1274)), (33, Some(0.0949))] },
    Row { name: "c40write", copies: 1, limit: 0, sizes: &[(8, Some(0.3132)), (25, Some(0.2122))] },
    Row { name: "c44", copies: 1, limit: 0, sizes: &[(8, None), (16, None)] },
    Row { name: "c4ttl", copies: 1, limit: 0, sizes: &[(17, Some(0.2472)), (60, Some(0.1984))] },
];
