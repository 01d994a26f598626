// Package flows takes packets in capture order and says, for every TCP flow,
// what each segment was for. It keeps the state that answers "was that octet
// acknowledged, was a probe open, how long was it silent", folds what is
// ordinary into runs, and gives each flow's story as a view.
package flows
