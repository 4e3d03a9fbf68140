// Command control is a Tailscale control server for tests, with DERP and STUN, all in memory: Tailscale's own
// testcontrol, plus a say in who each host is.
//
// A host is known by the name it registered with (tailscale up --hostname). What is said of it, at the start by -hosts
// or at any time by PUT /admin, replaces what was said before and reaches every node at once:
//
//	{"laptop": {"As": "alice@example.com"}, "runner": {"As": "tag:ci"}}
//
//	As         the login of its user, or tags with commas
//	Display    that user's name in words, where it is not the login's part before the @
//	Name       the device's name, where it is not the one it registered with (renamed by an admin)
//	Addresses  its only addresses, where they are not the two that it got when it registered
//	Created    when it joined the tailnet, where that is not now
//	Expired    its key ended a minute ago: it is left without peers
//	Removed    it is no longer in the tailnet: the others are told, and it is left without peers
//	Routes     the subnets behind it, approved and its own (its PrimaryRoutes)
//	ExitNode   it carries all traffic of whoever chooses it
//	Ingress    it may hand on connections of Funnel, as Tailscale's own relays do
//	Sharee     it belongs to somebody of another tailnet, and is seen because something was shared with them
//	SharedBy   the login of who shared it into this tailnet
//	NoProfile  its user is left out of the profiles that nodes are told (Headscale 0.28 does that to tagged nodes)
//
// With -fake N there are N peers more, two thousand people's, that are said to be there and answer nobody.
//
// Peers are sent whole each time, so no node has to be told what changed.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

const (
	port          = "9911"
	domain        = "tailtest.ts.net"
	keepAliveEach = 50 * time.Second
	tagged        = "tagged-devices" // the user that all devices with tags have
	fakePeople    = 2000
	fakeIDs       = 100_000 // the node IDs of fake peers begin here
)

type host struct {
	As, Display, Name string
	Addresses         []netip.Addr
	Created           time.Time
	Expired, Removed  bool
	Routes            []netip.Prefix
	ExitNode, Ingress bool
	Sharee            bool
	SharedBy          string
	NoProfile         bool
}

// login is the one that its user has.
func (h host) login() string {
	if strings.HasPrefix(h.As, "tag:") {
		return tagged
	}
	return cmp.Or(h.As, "nobody@example.com")
}

// tailnet is what the nodes are told; all below mu is guarded by it.
type tailnet struct {
	control *testcontrol.Server

	mu      sync.Mutex
	hosts   map[string]host
	users   map[string]tailcfg.UserProfile // by login
	streams map[tailcfg.NodeID]int         // open map streams: more than none is online
	changed chan struct{}                  // closed and replaced at each change
	fakes   []*tailcfg.Node
}

func (t *tailnet) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

// set takes JSON as in the head of this file; hosts that it does not name stay as they are.
func (t *tailnet) set(text string) error {
	said := map[string]host{}
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return err
	}
	t.change(func() {
		for name, h := range said {
			t.hosts[name] = h
		}
	})
	return nil
}

func (t *tailnet) user(login string) tailcfg.UserProfile {
	if _, known := t.users[login]; !known {
		name, _, _ := strings.Cut(login, "@")
		id := tailcfg.UserID(1001 + len(t.users))
		t.users[login] = tailcfg.UserProfile{ID: id, LoginName: login, DisplayName: name}
	}
	return t.users[login]
}

// describe writes into n what is said of its host.
func (t *tailnet) describe(n *tailcfg.Node) host {
	h := t.hosts[n.Hostinfo.Hostname()]
	user := t.user(h.login())
	if h.Display != "" {
		user.DisplayName = h.Display
		t.users[h.login()] = user
	}
	n.Tags = nil
	if user.LoginName == tagged {
		n.Tags = strings.Split(h.As, ",")
	}
	n.User, n.Online = user.ID, new(t.streams[n.ID] > 0)
	if h.Name != "" {
		n.Name = h.Name + "." + domain + "."
	}
	if h.Addresses != nil {
		n.Addresses = nil
		for _, a := range h.Addresses {
			n.Addresses = append(n.Addresses, netip.PrefixFrom(a, a.BitLen()))
		}
		n.AllowedIPs = n.Addresses
	}
	if h.Routes != nil {
		n.AllowedIPs, n.PrimaryRoutes = slices.Concat(n.Addresses, h.Routes), h.Routes
	}
	if h.ExitNode {
		n.AllowedIPs = slices.Concat(n.AllowedIPs, []netip.Prefix{tsaddr.AllIPv4(), tsaddr.AllIPv6()})
	}
	if h.Sharee {
		info := n.Hostinfo.AsStruct()
		info.ShareeNode = true
		n.Hostinfo, n.Name = info.View(), ""
	}
	if h.SharedBy != "" {
		n.Sharer = t.user(h.SharedBy).ID
	}
	if !h.Created.IsZero() {
		n.Created = h.Created
	}
	if h.Expired {
		n.KeyExpiry = time.Now().Add(-time.Minute)
	}
	return h
}

// answer gives what a node is to know now, and what is closed when that is no longer so.
func (t *tailnet) answer(req *tailcfg.MapRequest) (*tailcfg.MapResponse, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	res, _ := t.control.MapResponse(req)
	if res == nil {
		return nil, nil
	}
	res.ControlTime = new(time.Now()) // testcontrol says 2020, and nothing would be expired
	self := t.describe(res.Node)
	peers := res.Peers
	res.Peers, res.UserProfiles = []*tailcfg.Node{}, nil
	var relays []string
	for _, n := range peers {
		h := t.describe(n)
		if h.Ingress {
			for _, prefix := range n.Addresses {
				relays = append(relays, prefix.String())
			}
		}
		if h.Removed || self.Removed || self.Expired {
			res.PeersRemoved = append(res.PeersRemoved, n.ID)
		} else {
			res.Peers = append(res.Peers, n)
		}
	}
	res.Peers = append(res.Peers, t.fakes...)
	res.PacketFilter = withRelays(res.PacketFilter, relays)
	unnamed := map[string]bool{}
	for _, h := range t.hosts {
		if h.NoProfile {
			unnamed[h.login()] = true
		}
	}
	for login, u := range t.users {
		if !unnamed[login] {
			res.UserProfiles = append(res.UserProfiles, u)
		}
	}
	return res, t.changed
}

// withRelays lets nobody but relays hand on connections of Funnel; testcontrol lets everybody.
func withRelays(rules []tailcfg.FilterRule, relays []string) []tailcfg.FilterRule {
	var out []tailcfg.FilterRule
	for _, rule := range rules {
		isIngress := slices.ContainsFunc(rule.CapGrant, func(grant tailcfg.CapGrant) bool {
			return slices.Contains(grant.Caps, tailcfg.PeerCapabilityIngress)
		})
		if isIngress {
			rule.SrcIPs = relays
		}
		if len(rule.SrcIPs) > 0 {
			out = append(out, rule)
		}
	}
	return out
}

// fake makes the peers of -fake.
func (t *tailnet) fake(count int) {
	for i := range count {
		name := fmt.Sprintf("fake-%d", i)
		v4 := netip.AddrFrom4([4]byte{100, 70, byte(i >> 8), byte(i)})
		v6 := netip.MustParseAddr(fmt.Sprintf("fd7a:115c:a1e0:ab12::%x", i+1))
		prefixes := []netip.Prefix{netip.PrefixFrom(v4, 32), netip.PrefixFrom(v6, 128)}
		t.fakes = append(t.fakes, &tailcfg.Node{
			ID: tailcfg.NodeID(fakeIDs + i), StableID: tailcfg.StableNodeID(fmt.Sprintf("nFake%dCNTRL", i)),
			Name: name + "." + domain + ".", User: t.user(fmt.Sprintf("person%d@example.com", i%fakePeople)).ID,
			Key: key.NewNode().Public(), Machine: key.NewMachine().Public(), DiscoKey: key.NewDisco().Public(),
			Addresses: prefixes, AllowedIPs: prefixes, MachineAuthorized: true, HomeDERP: 1,
			Cap: tailcfg.CurrentCapabilityVersion, Online: new(i%2 == 0),
			Created: time.Now().AddDate(0, -3, 0), KeyExpiry: time.Now().AddDate(0, 3, 0),
			Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:41641"), netip.MustParseAddrPort("198.51.100.1:41641")},
			Hostinfo:  (&tailcfg.Hostinfo{OS: "linux", Hostname: name, IPNVersion: "1.102.5"}).View(),
		})
	}
}

// mapStream serves one map request until the node hangs up.
func (t *tailnet) mapStream(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	n := t.control.Node(req.NodeKey)
	if n == nil {
		return
	}
	if !req.ReadOnly && !req.Stream { // the node tells about itself
		n.Endpoints, n.DiscoKey, n.Cap = req.Endpoints, req.DiscoKey, req.Version
		if info := req.Hostinfo; info != nil {
			n.Hostinfo = info.View()
			if info.NetInfo != nil {
				n.HomeDERP = cmp.Or(info.NetInfo.PreferredDERP, n.HomeDERP)
			}
		}
		t.change(func() { t.control.UpdateNode(n) })
	}
	if req.Stream {
		t.change(func() { t.streams[n.ID]++ })
		defer t.change(func() { t.streams[n.ID]-- })
	}
	for {
		res, changed := t.answer(req)
		if res == nil || w.SendMapMessage(res) != nil || !req.Stream {
			return
		}
		for changed != nil {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				changed = nil
			case <-time.After(keepAliveEach):
				if w.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true}) != nil {
					return
				}
			}
		}
	}
}

// relay starts DERP and STUN on ip, each on a port of its own.
func relay(ip string) *tailcfg.DERPMap {
	listener, err := net.Listen("tcp", ip+":0")
	if err != nil {
		log.Fatal(err)
	}
	stun := stunserver.New(context.Background())
	if err := stun.Listen(ip + ":0"); err != nil {
		log.Fatal(err)
	}
	go stun.Serve()
	derp := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), logger.Discard)))
	derp.Listener.Close()
	derp.Listener = listener
	derp.StartTLS()
	node := &tailcfg.DERPNode{
		Name: "t1", RegionID: 1, HostName: ip, IPv4: ip, IPv6: "none", STUNTestIP: ip, InsecureForTests: true,
		STUNPort: stun.LocalAddr().(*net.UDPAddr).Port, DERPPort: listener.Addr().(*net.TCPAddr).Port,
	}
	region := &tailcfg.DERPRegion{RegionID: 1, RegionCode: "test", Nodes: []*tailcfg.DERPNode{node}}
	return &tailcfg.DERPMap{OmitDefaultRegions: true, Regions: map[int]*tailcfg.DERPRegion{1: region}}
}

func main() {
	ip := flag.String("ip", "127.0.0.1", "IPv4 address to listen on: TCP port "+port+", and any for DERP and STUN")
	hosts := flag.String("hosts", "{}", "JSON: who each host is")
	fakes := flag.Int("fake", 0, "peers more, that are not there")
	flag.Parse()

	control := &testcontrol.Server{
		Logf: logger.Discard, MagicDNSDomain: domain, CollectServices: "false",
		ExplicitBaseURL: "http://" + *ip + ":" + port, DERPMap: relay(*ip),
	}
	t := &tailnet{
		control: control, hosts: map[string]host{}, users: map[string]tailcfg.UserProfile{},
		streams: map[tailcfg.NodeID]int{}, changed: make(chan struct{}),
	}
	control.AltMapStream = t.mapStream
	t.fake(*fakes)
	if err := t.set(*hosts); err != nil {
		log.Fatalf("-hosts: %v", err)
	}

	mux := http.NewServeMux() // testcontrol panics on paths that it does not know
	for _, path := range []string{"/key", "/ts2021", "/machine/", "/generate_204"} {
		mux.Handle(path, control)
	}
	mux.HandleFunc("PUT /admin", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if err := t.set(string(text)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	// The first request makes its keys, which mapStream must find made.
	control.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/key?v=1", nil))
	log.Fatal(http.ListenAndServe(*ip+":"+port, mux))
}
