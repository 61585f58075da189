package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/repotest"
	"platter/repo/store/storetest"
)

func TestOpenRepo(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	repotest.New(t, storetest.OpenLocal(t, dir, nil), repo.DefaultSettings)
	tests := []struct {
		name, repo, password string
		want                 error
		text                 string
	}{
		{"right", dir, "pw", nil, ""},
		{"wrong password", dir, "PW", crypt.ErrWrongPassword, dir},
		{"no password", dir, "", errUsage, "PLATTER_PASSWORD"},
		{"no repository, so no question", t.TempDir(), "", repo.ErrNoRepository, "platter init"},
		{"no folder", dir + "/none", "", repo.ErrNoRepository, "mounted"},
		{"none given", "", "pw", errUsage, "PLATTER_REPOSITORY"},
		{"URL", "s3://bucket", "pw", errUsage, "s3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, _, _ := testEnv(t)
			e.getenv = func(name string) string { return map[string]string{"PLATTER_PASSWORD": tt.password}[name] }
			r, err := openRepo(ctx, e, common{repo: tt.repo, password: passwordSource{name: "password"}})
			if !errors.Is(err, tt.want) || (r == nil) != (tt.want != nil) {
				t.Fatalf("got %v, %v", r, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v: want %q in it", err, tt.text)
			}
		})
	}
}
