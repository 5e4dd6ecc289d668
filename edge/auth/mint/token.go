package mint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Sign makes a token of claims. An empty algorithm is the usual one of the key; an empty kid leaves it out.
func (k Key) Sign(algorithm, kid string, claims map[string]any) (string, error) {
	if algorithm == "" {
		algorithm = k.algorithms[0]
	}
	if !slices.Contains(k.algorithms, algorithm) {
		return "", fmt.Errorf("%q is not for this key, which is good for %s", algorithm, strings.Join(k.algorithms, " "))
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(k.value)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return text, nil
}
