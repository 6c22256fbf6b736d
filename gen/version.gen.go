// Code generated from gen/openapi.json by server/workshop/generate. DO NOT EDIT.

package gen

// Version is that of the contract.
const Version = "0.53.0"
