package engine

// Size is the disk space that the store takes, in bytes, its log included.
func (e *Engine) Size() uint64 { return e.db.Metrics().DiskSpaceUsage() }
