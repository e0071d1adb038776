// Package repotest keeps the rules of this repository as tests: who may import whom, how long a file or function gets, that every
// package says what it is, and that what the documents name exists. A rule that no test holds is a wish.
package repotest
