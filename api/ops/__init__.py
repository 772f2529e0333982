"""Operations: snapshot of all components, metrics, traces and reports from browsers."""
