//! Colours and type.

/// Follows the reader's colour scheme. The background comes along, so that a page in the other one does no harm.
pub const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#475569}\
.name{font:bold 14px ui-monospace,monospace;fill:#0f172a}\
.title{font-size:16px;font-weight:bold;fill:#0f172a}\
.end{text-anchor:end}\
.middle{text-anchor:middle}\
.paper{fill:#f8fafc}\
.grid,.offered,.admitted,.limit{fill:none}\
.grid{stroke:#dbe2ea}\
.offered{stroke:#94a3b8;stroke-width:1.1}\
.admitted{stroke:#1d4ed8;stroke-width:1.4}\
.level{fill:#93b9f5;stroke:none}\
.over{fill:#f97316;stroke:none}\
.limit{stroke:#334155;stroke-dasharray:5 3}\
.window{fill:#64748b;fill-opacity:.09;stroke:#64748b;stroke-opacity:.6}\
@media (prefers-color-scheme:dark){\
text{fill:#a9b6c8}\
.name,.title{fill:#f1f5f9}\
.paper{fill:#10182b}\
.grid{stroke:#26334a}\
.offered{stroke:#64748b}\
.admitted{stroke:#7db4ff}\
.level{fill:#2c5cb8}\
.over{fill:#f0762b}\
.limit{stroke:#cbd5e1}\
.window{fill:#94a3b8;stroke:#94a3b8}\
}";
