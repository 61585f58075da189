package storetest

import (
	"errors"
	"testing"

	"platter/repo/store"
)

func TestFaulty(t *testing.T) {
	Run(t, func(*testing.T) store.Store { return &Faulty{Store: new(store.Mem)} })
}

// TestFaultyEveryCall fails each call of a small program in turn, before and after it takes effect.
func TestFaultyEveryCall(t *testing.T) {
	broken := errors.New("broken")
	program := func(s store.Store) [4]error {
		_, listed := list(t.Context(), s, "")
		put := s.Put(t.Context(), "a", []byte("a"))
		_, got := s.Get(t.Context(), "a", 0, 1)
		return [4]error{listed, put, got, s.Delete(t.Context(), "a")}
	}
	for i := range 4 {
		for _, lost := range []bool{false, true} {
			mem := new(store.Mem)
			s := &Faulty{Store: mem, Fail: Nth(int64(i), broken)}
			if lost {
				s.Fail, s.Lose = nil, s.Fail
			}
			errs := program(s)
			for call, err := range errs {
				if errors.Is(err, broken) != (call == i) {
					t.Errorf("failing call %d (lost: %t): call %d says %v", i, lost, call, err)
				}
			}
			if s.Ops() != 4 {
				t.Errorf("%d calls counted, want 4", s.Ops())
			}
			left, err := list(t.Context(), mem, "")
			if want := i == 3 && !lost; err != nil || (len(left) == 1) != want {
				t.Errorf("failing call %d (lost: %t) leaves %v, %v", i, lost, left, err)
			}
		}
	}
}

func TestFaultyLosesTheAnswerToAPut(t *testing.T) {
	broken := errors.New("broken")
	s := &Faulty{Store: new(store.Mem), Lose: Nth(0, broken)}
	if err := s.Put(t.Context(), "a", []byte("a")); !errors.Is(err, broken) {
		t.Fatalf("Put says %v, want the injected error", err)
	}
	wantFile(t, s, "a", []byte("a"))
}

func TestFaultyAfter(t *testing.T) {
	broken := errors.New("broken")
	s := &Faulty{Store: new(store.Mem), Fail: After(2, broken)}
	for i := range 5 {
		if err := s.Put(t.Context(), "a", nil); (err != nil) != (i >= 2) {
			t.Errorf("Put %d says %v", i, err)
		}
	}
}
