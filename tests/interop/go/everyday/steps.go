package main

import clientv3 "go.etcd.io/etcd/client/v3"

// In this order: the last one leaves a member dead.
var steps = []struct {
	name string
	run  func(*clientv3.Client)
}{
	{"keys", keys},
	{"transactions", transactions},
	{"mistakes", mistakes},
	{"leases", leases},
	{"watches", watches},
	{"watches of the past", watchesOfThePast},
	{"sessions", sessions},
	{"mutexes", mutexes},
	{"elections", elections},
	{"software transactional memory", stm},
	{"recipes", recipesOfContrib},
	{"views", views},
	{"members", members},
	{"maintenance", maintenance},
	{"endpoints", deadEndpoints},
	{"failover", failover},
}
