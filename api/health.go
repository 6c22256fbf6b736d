package api

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/process"
)

// health has the operations that tell of the server itself. None needs a key.
type health struct{ *deps }

// Alive answers {"status":"ok"}.
func (o *health) Alive(c echo.Context) error {
	return writeBytes(c, http.StatusOK, []byte(`{"status":"ok"}`))
}

// Health answers the JSON string "OK".
func (o *health) Health(c echo.Context) error {
	return writeBytes(c, http.StatusOK, []byte(`"OK"`))
}

// serverInfo is what GET /server_info answers: seconds and bytes.
type serverInfo struct {
	Uptime    float64   `json:"uptime"`
	IdleTime  float64   `json:"idle_time"`
	Resources resources `json:"resources"`
}

type resources struct {
	CPUPercent float64 `json:"cpu_percent"`
	Memory     struct {
		RSS     uint64  `json:"rss"`
		VMS     uint64  `json:"vms"`
		Percent float64 `json:"percent"`
	} `json:"memory"`
	Disk struct {
		Total   uint64  `json:"total"`
		Used    uint64  `json:"used"`
		Free    uint64  `json:"free"`
		Percent float64 `json:"percent"`
	} `json:"disk"`
	IO struct {
		ReadBytes  uint64 `json:"read_bytes"`
		WriteBytes uint64 `json:"write_bytes"`
	} `json:"io"`
}

// GetServerInfo tells how long the server has run and idled, and what this
// process and the root disk use.
func (o *health) GetServerInfo(c echo.Context) error {
	info := serverInfo{
		Uptime:    time.Since(o.Started).Seconds(),
		Resources: measure(c.Request().Context()),
	}
	info.IdleTime = info.Uptime
	if last := o.activity.last.Load(); last != 0 {
		info.IdleTime = time.Since(time.Unix(0, last)).Seconds()
	}
	return writeJSON(c, http.StatusOK, info)
}

// measure asks the system. What it does not tell stays 0.
func measure(ctx context.Context) resources {
	var r resources
	if p, err := process.NewProcessWithContext(ctx, int32(os.Getpid())); err == nil {
		r.CPUPercent, _ = p.CPUPercentWithContext(ctx)
		if m, err := p.MemoryInfoWithContext(ctx); err == nil {
			r.Memory.RSS, r.Memory.VMS = m.RSS, m.VMS
		}
		if percent, err := p.MemoryPercentWithContext(ctx); err == nil {
			r.Memory.Percent = float64(percent)
		}
		if n, err := p.IOCountersWithContext(ctx); err == nil {
			r.IO.ReadBytes, r.IO.WriteBytes = n.ReadBytes, n.WriteBytes
		}
	}
	if d, err := disk.UsageWithContext(ctx, "/"); err == nil {
		r.Disk.Total, r.Disk.Used, r.Disk.Free, r.Disk.Percent = d.Total, d.Used, d.Free, d.UsedPercent
	}
	return r
}
