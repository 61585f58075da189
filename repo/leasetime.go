package repo

import "time"

// LeaseTime is when the lease that this Repo holds was put, by the store's clock; zero without a lease.
func (r *Repo) LeaseTime() time.Time {
	h := &r.lease
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == 0 || h.found == nil {
		return time.Time{}
	}
	return h.found.leases[h.id].time
}
